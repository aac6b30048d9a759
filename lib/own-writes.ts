const UNDER_WAY = 0;
const MET_HALFWAY = 1;

/** How many acknowledged writes may wait for their messages; past that the oldest is forgotten, which costs a read. */
const MAX_WAITING = 10_000;

/**
 * Tells which of our own messages may be passed over: those of writes that this process saw succeed, and so put into its
 * cache (or took out) itself. Any other must be obeyed like a stranger's, above all that of a write that timed out here and
 * was carried out later.
 *
 * A write and its message meet in either order, once. The first to come leaves a mark, the second takes it away. A message
 * that comes while its write is still under way is passed over, too: whatever becomes of the write, the store forgets
 * the session when it ends.
 */
export class OwnWrites {
  readonly #writes = new Map<number, typeof UNDER_WAY | typeof MET_HALFWAY>();
  #sequence = 0;

  /** A number for a write that begins. */
  begin(): number {
    if (this.#writes.size >= MAX_WAITING) this.#writes.delete(this.#writes.keys().next().value as number);
    this.#writes.set(++this.#sequence, UNDER_WAY);
    return this.#sequence;
  }

  /** The write has ended; `isPublished` only if Redis said so of its message, which is then waited for. */
  end(sequence: number, isPublished: boolean): void {
    if (!isPublished || this.#writes.get(sequence) === MET_HALFWAY) this.#writes.delete(sequence);
    else if (this.#writes.has(sequence)) this.#writes.set(sequence, MET_HALFWAY);
  }

  /** The message of a write has been heard. @returns whether it may be passed over */
  heard(sequence: number): boolean {
    const mark = this.#writes.get(sequence);
    if (mark === MET_HALFWAY) this.#writes.delete(sequence);
    else if (mark === UNDER_WAY) this.#writes.set(sequence, MET_HALFWAY);
    return mark !== undefined;
  }

  /** Messages have been lost: none that was waited for will come. */
  clear(): void {
    this.#writes.clear();
  }
}
