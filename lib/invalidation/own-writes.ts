interface Write {
  /** How many more copies of its message are to come. */
  copies: number;
  hasEnded: boolean;
}

/** How many acknowledged writes may wait for their messages; past that the oldest is forgotten, which costs a read. */
const MAX_WAITING = 10_000;

/**
 * Tells which of our own messages may be passed over: those of writes that this process saw succeed, and so put into its
 * cache (or took out) itself. Any other must be obeyed like a stranger's, above all that of a write that timed out here and
 * was carried out later.
 *
 * A write and its message meet in either order, once: or in a Cluster, where each primary brings a copy of the message, once for
 * each. The mark of a write is taken away when it has succeeded and all copies have come. A message that comes while its
 * write is still under way is passed over, too: whatever becomes of the write, the store forgets the session when it ends.
 */
export class OwnWrites {
  readonly #writes = new Map<number, Write>();
  #sequence = 0;

  /** A number for a write that begins. @param copies how often its message will be heard */
  begin(copies = 1): number {
    if (this.#writes.size >= MAX_WAITING) this.#writes.delete(this.#writes.keys().next().value as number);
    this.#writes.set(++this.#sequence, { copies, hasEnded: false });
    return this.#sequence;
  }

  /** The write has ended; `isPublished` only if Redis said so of its message, which is then waited for. */
  end(sequence: number, isPublished: boolean): void {
    const write = this.#writes.get(sequence);
    if (write === undefined) return;
    write.hasEnded = true;
    if (!isPublished || write.copies <= 0) this.#writes.delete(sequence);
  }

  /** The message of a write has been heard. @returns whether it may be passed over */
  heard(sequence: number): boolean {
    const write = this.#writes.get(sequence);
    if (write === undefined) return false;
    write.copies--;
    if (write.hasEnded && write.copies <= 0) this.#writes.delete(sequence);
    return true;
  }

  /** Messages have been lost: none that was waited for will come. */
  clear(): void {
    this.#writes.clear();
  }
}
