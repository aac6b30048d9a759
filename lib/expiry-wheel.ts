const EXPIRED = 0;

/**
 * Finds what has expired without looking at what has not: a timing wheel of two levels, exact to the millisecond.
 *
 * Time is cut into blocks of √ttl milliseconds. Everything that ends in a later block hangs on that block's list; what
 * ends in the current block hangs on a list of its own millisecond. As time goes by, whole lists are spliced onto the
 * list of the expired, and one block's list is spread over its milliseconds when that block begins: each entry is moved
 * once at most, so scheduling, cancelling and finding take constant time, amortised.
 *
 * Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7.
 *
 * Entries are small whole numbers (slots), from 1; times are whole milliseconds. The lists are circular and doubly
 * linked, kept in two arrays; each begins with a node of its own, and those come before the entries' nodes.
 */
export class ExpiryWheel {
  readonly #blockMs: number;
  readonly #blocks: number;
  readonly #firstEntry: number;
  #next: Uint32Array;
  #previous: Uint32Array;
  #deadlines: Float64Array;
  /** Everything up to and including this millisecond has been moved to the list of the expired. */
  #time: number;

  /**
   * @param longestMs no entry is ever scheduled further ahead than this
   * @param slots room for slots below this
   */
  constructor(longestMs: number, now: number, slots: number) {
    this.#blockMs = Math.ceil(Math.sqrt(longestMs));
    this.#blocks = Math.ceil(longestMs / this.#blockMs) + 2;
    this.#firstEntry = 1 + this.#blockMs + this.#blocks;
    this.#next = new Uint32Array(this.#firstEntry + slots);
    this.#previous = new Uint32Array(this.#firstEntry + slots);
    this.#deadlines = new Float64Array(slots);
    this.#time = now;
    this.reset(now);
  }

  /** Forgets every entry. */
  reset(now: number): void {
    this.#time = now;
    for (let list = 0; list < this.#firstEntry; list++) {
      this.#next[list] = list;
      this.#previous[list] = list;
    }
  }

  /** Makes room for slots below `slots`. */
  grow(slots: number): void {
    const next = new Uint32Array(this.#firstEntry + slots);
    const previous = new Uint32Array(this.#firstEntry + slots);
    const deadlines = new Float64Array(slots);
    next.set(this.#next);
    previous.set(this.#previous);
    deadlines.set(this.#deadlines);
    this.#next = next;
    this.#previous = previous;
    this.#deadlines = deadlines;
  }

  /** Notes that `slot` expires at `deadline`. It must not be scheduled already, and `advance` must have been called. */
  schedule(slot: number, deadline: number): void {
    this.#deadlines[slot] = deadline;
    this.#append(this.#listOf(deadline), this.#firstEntry + slot);
  }

  /** Takes `slot` off, whether or not it has expired. */
  cancel(slot: number): void {
    const node = this.#firstEntry + slot;
    const next = this.#next[node] as number;
    const previous = this.#previous[node] as number;
    this.#next[previous] = next;
    this.#previous[next] = previous;
  }

  /** One slot that has expired by the time last given to `advance`, if there is any; it stays scheduled. */
  firstExpired(): number | undefined {
    const node = this.#next[EXPIRED] as number;
    return node === EXPIRED ? undefined : node - this.#firstEntry;
  }

  /** Moves time on to `now`. A time that lies behind changes nothing. */
  advance(now: number): void {
    if (now <= this.#time) return;
    const lastBlock = Math.floor(now / this.#blockMs);
    let block = Math.floor(this.#time / this.#blockMs);
    if (block < lastBlock) {
      this.#expireMilliseconds(this.#time + 1, (block + 1) * this.#blockMs - 1);
      // Nothing is scheduled further ahead than the wheel is round, so one turn of it is all there can be.
      const turn = Math.min(lastBlock, block + this.#blocks);
      while (++block < turn) this.#splice(this.#blockList(block));
      if (turn === lastBlock) {
        this.#time = lastBlock * this.#blockMs - 1;
        this.#spread(this.#blockList(lastBlock));
      } else {
        this.#splice(this.#blockList(turn));
        this.#time = now;
        return;
      }
    }
    this.#expireMilliseconds(this.#time + 1, now);
    this.#time = now;
  }

  #expireMilliseconds(from: number, to: number): void {
    for (let time = from; time <= to; time++) this.#splice(1 + (time % this.#blockMs));
  }

  #blockList(block: number): number {
    return 1 + this.#blockMs + (block % this.#blocks);
  }

  #listOf(deadline: number): number {
    if (deadline <= this.#time) return EXPIRED;
    const block = Math.floor(deadline / this.#blockMs);
    return block === Math.floor(this.#time / this.#blockMs)
      ? 1 + (deadline % this.#blockMs)
      : this.#blockList(block);
  }

  /** Hangs a list's entries onto the lists of their own milliseconds. */
  #spread(list: number): void {
    let node = this.#next[list] as number;
    this.#next[list] = list;
    this.#previous[list] = list;
    while (node !== list) {
      const next = this.#next[node] as number;
      this.#append(1 + ((this.#deadlines[node - this.#firstEntry] as number) % this.#blockMs), node);
      node = next;
    }
  }

  #append(list: number, node: number): void {
    const last = this.#previous[list] as number;
    this.#next[last] = node;
    this.#previous[node] = last;
    this.#next[node] = list;
    this.#previous[list] = node;
  }

  /** Hangs a whole list onto the end of the list of the expired. */
  #splice(list: number): void {
    const first = this.#next[list] as number;
    if (first === list) return;
    const last = this.#previous[list] as number;
    const tail = this.#previous[EXPIRED] as number;
    this.#next[tail] = first;
    this.#previous[first] = tail;
    this.#next[last] = EXPIRED;
    this.#previous[EXPIRED] = last;
    this.#next[list] = list;
    this.#previous[list] = list;
  }
}
