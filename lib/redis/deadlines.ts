import { SessionStoreError } from "../reporting/errors.ts";

/** What the work of an operation may ask of its own deadline. */
export interface Deadline {
  /** The caller has been given its error: what has not been sent by now need not be sent any more. */
  readonly passed: boolean;
}

interface Operation extends Deadline {
  passed: boolean;
  readonly at: number;
  readonly fail: () => void;
}

/**
 * Answers every operation within one time limit, from the call on, whatever the client does: node-redis forgets its own
 * command timeout once a command is written, and a stalled server then leaves the promise pending for ever.
 *
 * All operations have the same limit, so they end in the order in which they began, and one timer for the oldest does
 * for all. It does not keep the process alive.
 */
export class Deadlines {
  readonly #limitMs: number;
  readonly #operations = new Set<Operation>();
  #timer: NodeJS.Timeout | undefined;
  #awaited: { readonly operations: Set<Operation>; readonly resolve: () => void }[] = [];

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /**
   * The result of `work`, or an `ERR_SESSION_TIMEOUT` error when that takes longer than the limit.
   * @param what names the operation in the error
   */
  run<T>(what: string, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const operation: Operation = {
        passed: false,
        at: performance.now() + this.#limitMs,
        fail: () =>
          reject(new SessionStoreError("ERR_SESSION_TIMEOUT", `${what}: no answer in ${this.#limitMs} ms`)),
      };
      this.#operations.add(operation);
      this.#arm(this.#limitMs);
      attempt(work, operation).then(
        (result) => {
          this.#finish(operation);
          resolve(result);
        },
        (error: unknown) => {
          this.#finish(operation);
          reject(error);
        },
      );
    });
  }

  /** Resolves when all that is under way now has been answered: after the time limit at the latest. */
  settled(): Promise<void> {
    if (this.#operations.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#awaited.push({ operations: new Set(this.#operations), resolve });
    });
  }

  #finish(operation: Operation): void {
    this.#operations.delete(operation);
    if (this.#awaited.length === 0) return;
    this.#awaited = this.#awaited.filter(({ operations, resolve }) => {
      operations.delete(operation);
      if (operations.size === 0) resolve();
      return operations.size > 0;
    });
  }

  #arm(ms: number): void {
    this.#timer ??= setTimeout(() => this.#sweep(), ms).unref();
  }

  #sweep(): void {
    this.#timer = undefined;
    for (const operation of this.#operations) {
      const left = operation.at - performance.now();
      if (left > 0) {
        this.#arm(left);
        return;
      }
      operation.passed = true;
      operation.fail();
      this.#finish(operation);
    }
  }
}

/** What throws at once is answered like what fails later. */
function attempt<T>(work: (deadline: Deadline) => Promise<T>, deadline: Deadline): Promise<T> {
  try {
    return work(deadline);
  } catch (error) {
    return Promise.reject(error);
  }
}
