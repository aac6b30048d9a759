const FIRST_MS = 50;

/**
 * Schedules the next attempt after a failure: the delay doubles up to a maximum, and each is shortened at random by up to
 * half, so that a restarted Redis does not meet all processes at the same moment.
 *
 * Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 ("equal jitter").
 */
export class Backoff {
  readonly #maxMs: number;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(maxMs: number) {
    this.#maxMs = maxMs;
  }

  /** Calls `attempt` once, later. It does not keep the process alive. */
  schedule(attempt: () => void): void {
    const delay = Math.min(FIRST_MS * 2 ** this.#failures++, this.#maxMs);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(attempt, delay * (0.5 + Math.random() / 2)).unref();
  }

  /** An attempt has succeeded: the next failure waits the shortest delay again. */
  reset(): void {
    this.#failures = 0;
  }

  cancel(): void {
    clearTimeout(this.#timer);
  }
}
