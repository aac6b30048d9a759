const EXPIRED = 0;

/**
 * Finds what has expired without looking at what has not: a timing wheel of two levels, exact to the millisecond.
 *
 * Time is cut into blocks of about √ttl milliseconds. Everything that ends in a later block hangs on that block's list; what
 * ends in the current block hangs on a list of its own millisecond. As time goes by, whole lists are spliced onto the
 * list of the expired, and one block's list is spread over its milliseconds when that block begins: each entry is moved
 * once at most, so scheduling, cancelling and finding take constant time, amortised.
 *
 * Source: G. Varghese, T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7.
 *
 * Entries are small whole numbers (slots), from 1; times are whole milliseconds below 2³². The lists are circular and doubly
 * linked; each begins with a node of its own, and those come before the entries' nodes. A node is two numbers side by
 * side, the next and the previous. Blocks are as long as a power of two, and there are as many, so that finding a list takes
 * no division.
 */
export class ExpiryWheel {
  readonly #blockMs: number;
  /** What a time is shifted by to give its block. */
  readonly #blockBits: number;
  readonly #blocks: number;
  readonly #firstEntry: number;
  #links: Uint16Array | Uint32Array;
  #deadlines: Uint32Array;
  /** Everything up to and including this millisecond has been moved to the list of the expired. */
  #time: number;

  /**
   * @param longestMs no entry is ever scheduled further ahead than this
   * @param slots room for slots below this
   * @param mostSlots the most that `grow` will be asked for
   */
  constructor(longestMs: number, now: number, slots: number, mostSlots: number = Number.POSITIVE_INFINITY) {
    this.#blockBits = Math.ceil(Math.log2(longestMs + 1) / 2);
    this.#blockMs = 2 ** this.#blockBits;
    this.#blocks = 2 ** Math.ceil(Math.log2(longestMs / this.#blockMs + 2));
    this.#firstEntry = 1 + this.#blockMs + this.#blocks;
    const Links = this.#firstEntry + mostSlots <= 2 ** 16 ? Uint16Array : Uint32Array;
    this.#links = new Links(2 * (this.#firstEntry + slots));
    this.#deadlines = new Uint32Array(slots);
    this.#time = now;
    this.reset(now);
  }

  /** Forgets every entry. */
  reset(now: number): void {
    this.#time = now;
    for (let list = 0; list < this.#firstEntry; list++) {
      this.#links[2 * list] = list;
      this.#links[2 * list + 1] = list;
    }
  }

  /** Makes room for slots below `slots`. */
  grow(slots: number): void {
    const Links = this.#links.constructor as Uint32ArrayConstructor;
    const links = new Links(2 * (this.#firstEntry + slots));
    const deadlines = new Uint32Array(slots);
    links.set(this.#links);
    deadlines.set(this.#deadlines);
    this.#links = links;
    this.#deadlines = deadlines;
  }

  /** When `slot`, which is scheduled, expires. */
  deadlineOf(slot: number): number {
    return this.#deadlines[slot] as number;
  }

  /** Notes that `slot` expires at `deadline`. It must not be scheduled already, and `advance` must have been called. */
  schedule(slot: number, deadline: number): void {
    this.#deadlines[slot] = deadline;
    this.#append(this.#listOf(deadline), this.#firstEntry + slot);
  }

  /** Takes `slot` off, whether or not it has expired. */
  cancel(slot: number): void {
    const links = this.#links;
    const node = 2 * (this.#firstEntry + slot);
    const next = links[node] as number;
    const previous = links[node + 1] as number;
    links[2 * previous] = next;
    links[2 * next + 1] = previous;
  }

  /** One slot that has expired by the time last given to `advance`, if there is any; it stays scheduled. */
  firstExpired(): number | undefined {
    const node = this.#links[2 * EXPIRED] as number;
    return node === EXPIRED ? undefined : node - this.#firstEntry;
  }

  /** Moves time on to `now`. A time that lies behind changes nothing. */
  advance(now: number): void {
    if (now <= this.#time) return;
    const lastBlock = now >>> this.#blockBits;
    let block = this.#time >>> this.#blockBits;
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
    for (let time = from; time <= to; time++) this.#splice(this.#millisecondList(time));
  }

  #millisecondList(time: number): number {
    return 1 + (time & (this.#blockMs - 1));
  }

  #blockList(block: number): number {
    return 1 + this.#blockMs + (block & (this.#blocks - 1));
  }

  #listOf(deadline: number): number {
    if (deadline <= this.#time) return EXPIRED;
    const block = deadline >>> this.#blockBits;
    return block === this.#time >>> this.#blockBits
      ? this.#millisecondList(deadline)
      : this.#blockList(block);
  }

  /** Hangs a list's entries onto the lists of their own milliseconds. */
  #spread(list: number): void {
    let node = this.#links[2 * list] as number;
    this.#links[2 * list] = list;
    this.#links[2 * list + 1] = list;
    while (node !== list) {
      const next = this.#links[2 * node] as number;
      this.#append(this.#millisecondList(this.#deadlines[node - this.#firstEntry] as number), node);
      node = next;
    }
  }

  #append(list: number, node: number): void {
    const links = this.#links;
    const last = links[2 * list + 1] as number;
    links[2 * last] = node;
    links[2 * node + 1] = last;
    links[2 * node] = list;
    links[2 * list + 1] = node;
  }

  /** Hangs a whole list onto the end of the list of the expired. */
  #splice(list: number): void {
    const links = this.#links;
    const first = links[2 * list] as number;
    if (first === list) return;
    const last = links[2 * list + 1] as number;
    const tail = links[2 * EXPIRED + 1] as number;
    links[2 * tail] = first;
    links[2 * first + 1] = tail;
    links[2 * last] = EXPIRED;
    links[2 * EXPIRED + 1] = last;
    links[2 * list] = list;
    links[2 * list + 1] = list;
  }
}
