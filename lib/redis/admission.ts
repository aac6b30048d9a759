import type { Counters } from "../reporting/counters.ts";
import type { Outage } from "./outage.ts";

/** Operations of one store that may be unanswered at the same time, and the bytes of what they write. */
export const MAX_OPERATIONS = 10_000;
export const MAX_OPERATION_BYTES: number = 16 * 1024 * 1024;

/**
 * Refuses operations that could only wait: while Redis is away, or while so many are unanswered that a stalled Redis
 * would fill the memory. What is refused has not been sent, and never will be.
 */
export class Admission {
  readonly #outage: Outage;
  readonly #counters: Counters;
  #operations = 0;
  #bytes = 0;

  constructor(outage: Outage, counters: Counters) {
    this.#outage = outage;
    this.#counters = counters;
  }

  /** Why an operation must not begin; undefined if it may. @param bytes the size of what it writes */
  refuse(bytes: number): string | undefined {
    const reason = this.#outage.reason ?? this.#excess(bytes);
    if (reason !== undefined) this.#counters.refusals++;
    return reason;
  }

  /** An operation begins. It must `leave` when it has settled, and not when its caller got a timeout. */
  enter(bytes: number): void {
    this.#operations++;
    this.#bytes += bytes;
  }

  leave(bytes: number): void {
    this.#operations--;
    this.#bytes -= bytes;
  }

  #excess(bytes: number): string | undefined {
    if (this.#operations >= MAX_OPERATIONS) return `${this.#operations} operations are unanswered`;
    // A write that is larger than the limit may run alone; meanwhile, logouts and reads go on.
    if (bytes === 0 || this.#bytes === 0 || this.#bytes + bytes <= MAX_OPERATION_BYTES) return undefined;
    return `operations that write ${this.#bytes} bytes are unanswered`;
  }
}
