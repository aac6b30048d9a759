/** Why what heartbeats have proven may not hold any more. */
export type Doubt =
  | "the client has reconnected"
  | "Redis is read-only"
  | "replies are out of step"
  | "the data connection is half-open";

/** Reports doubts about the data connections to the one who relies on them. */
export class Doubts {
  #listener: ((doubt: Doubt) => void) | undefined;

  /** @param listener replaces the previous one; undefined for none. Must not throw. */
  listen(listener: ((doubt: Doubt) => void) | undefined): void {
    this.#listener = listener;
  }

  /** @returns whether anybody listens */
  raise(doubt: Doubt): boolean {
    this.#listener?.(doubt);
    return this.#listener !== undefined;
  }
}
