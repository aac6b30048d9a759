/** What was sent in one turn of the event loop. */
interface Group {
  readonly sentAt: number;
  /** Called once. @param replies undefined if there are none in time */
  readonly settle: (replies: readonly unknown[] | undefined) => void;
}

/** What one connection has not answered yet. While it does not answer in time, callers do without it. */
export class Unanswered {
  /** Whether the connection has not answered in time, and has answered nothing since. */
  isStalled = false;
  readonly #maxWaitMs: number;
  /** In the order in which they were sent. */
  readonly #groups = new Set<Group>();
  #watchdog: NodeJS.Timeout | undefined;

  /** @param maxWaitMs how long callers wait, in milliseconds */
  constructor(maxWaitMs: number) {
    this.#maxWaitMs = maxWaitMs;
  }

  /** A group has been sent. @returns to be called with its replies; undefined if the connection fails */
  add(group: Group): Group["settle"] {
    this.#groups.add(group);
    this.#watch();
    return (replies) => {
      this.isStalled = false;
      if (this.#groups.delete(group)) group.settle(replies);
    };
  }

  /** One timer for all groups. */
  #watch(): void {
    // As in `Deadlines`: the answer may be there to be read.
    const check = () => setImmediate(() => this.#giveUp());
    this.#watchdog ??= setTimeout(check, this.#maxWaitMs / 2).unref();
  }

  /** Settles groups that have waited for too long. */
  #giveUp(): void {
    this.#watchdog = undefined;
    const latest = performance.now() - this.#maxWaitMs;
    for (const group of this.#groups) {
      if (group.sentAt > latest) break;
      this.isStalled = true;
      this.#groups.delete(group);
      group.settle(undefined);
    }
    if (this.#groups.size > 0) this.#watch();
  }
}
