/**
 * One time line for all processes: CLOCK_MONOTONIC belongs to the machine, so what one process notes can be compared with what
 * another does. Milliseconds since `origin`, which the checker picks and hands to its nodes.
 */
export class Clock {
  readonly #origin: bigint;

  constructor(origin: string = process.hrtime.bigint().toString()) {
    this.#origin = BigInt(origin);
  }

  get origin(): string {
    return this.#origin.toString();
  }

  now(): number {
    return Number(process.hrtime.bigint() - this.#origin) / 1e6;
  }

  /** What to add to a wall clock's milliseconds, at this moment, to come onto this time line; right to a millisecond. */
  wallOffset(): number {
    // One that is interrupted between the two clocks is too small.
    return Math.max(...Array.from({ length: 10 }, () => this.now() - Date.now()));
  }
}
