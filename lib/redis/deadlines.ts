import { hashSid } from "../reporting/diagnostics.ts";
import { SessionStoreError, type SessionStoreErrorCode, withHidden } from "../reporting/errors.ts";
import type { Admission } from "./admission.ts";

/** The deadline of an operation, for the work that it limits. */
export class Deadline {
  #passed = false;
  #listeners: (() => void)[] | undefined;

  /** The caller has received its error, so what has not been sent yet must not be sent any more. */
  get passed(): boolean {
    return this.#passed;
  }

  pass(): void {
    this.#passed = true;
    for (const listener of this.#listeners?.splice(0) ?? []) listener();
  }

  /** Calls `listener` when the deadline passes; at once if it has. */
  onPassed(listener: () => void): void {
    if (this.#passed) listener();
    else if (this.#listeners === undefined) this.#listeners = [listener];
    else this.#listeners.push(listener);
  }

  /**
   * The operation has settled. The listeners hold what it has sent, and V8 may keep this object for longer: a Map or Set whose
   * entries come and go is rehashed again and again, and each former table keeps its entries, and the next table, until the next
   * major garbage collection. So what holds more than its result is kept in objects without a prototype.
   */
  end(): void {
    this.#listeners = undefined;
  }
}

export interface DeadlinesOptions {
  /** What precedes the session ids in Redis, for `SessionStoreError.key`. */
  readonly prefix?: string;
  /** Why there may have been no answer, for the error; undefined if nothing is known. */
  readonly explain?: () => string | undefined;
  /** Refuses operations that could only wait. */
  readonly admission?: Admission;
}

/**
 * Settles every operation within one time limit, whatever the client does: node-redis drops its own command timeout once a
 * command is written, and against a stalled server the promise then stays pending forever.
 */
export class Deadlines {
  readonly #limitMs: number;
  readonly #options: DeadlinesOptions;
  readonly #admission: Admission | undefined;
  readonly #operations = new Set<Promise<unknown>>();

  /** @param limitMs the limit of each operation, in milliseconds */
  constructor(limitMs: number, options: DeadlinesOptions = {}) {
    this.#limitMs = limitMs;
    this.#options = options;
    this.#admission = options.admission;
  }

  /**
   * The result of `work`, or an `ERR_SESSION_TIMEOUT` error if that takes longer than the limit. The timer does not keep the
   * process alive. If the operation is refused, `work` is not called.
   * @param what names the operation in the error
   * @param sid the session that the operation concerns, if it is a single one
   * @param bytes the size of what it writes
   */
  run<T>(what: string, work: (deadline: Deadline) => Promise<T>, sid?: string, bytes = 0): Promise<T> {
    const refusal = this.refuse(what, sid, bytes);
    if (refusal !== undefined) return Promise.reject(refusal);
    const load = this.#admission?.enter(sid, bytes);
    const operation = new Promise<T>((resolve, reject) => {
      const deadline = new Deadline();
      let immediate: NodeJS.Immediate | undefined;
      const end = () => {
        clearTimeout(timer);
        clearImmediate(immediate);
        this.#operations.delete(operation);
      };
      const expire = () => {
        deadline.pass();
        end();
        const reason = this.#options.explain?.();
        const suffix = reason === undefined ? "" : `: ${reason}`;
        const message = `no answer in ${this.#limitMs} ms${suffix}`;
        reject(this.#errorOf("ERR_SESSION_TIMEOUT", what, sid, message));
      };
      // After the event loop was blocked, timers run before sockets are read; the reply may be there. Immediates run after.
      const onTimer = () => {
        immediate = setImmediate(expire);
      };
      const timer = setTimeout(onTimer, this.#limitMs).unref();
      const onSettled = () => {
        end();
        deadline.end();
        if (load !== undefined) this.#admission?.leave(load, bytes);
      };
      attempt(work, deadline).then(
        (result) => {
          onSettled();
          resolve(result);
        },
        (error: unknown) => {
          onSettled();
          reject(this.#withKey(error, sid));
        },
      );
    });
    this.#operations.add(operation);
    return operation;
  }

  /** The error of an operation that must not begin; undefined if it may. */
  refuse(what: string, sid: string | undefined, bytes: number): SessionStoreError | undefined {
    const reason = this.#admission?.refuse(sid, bytes);
    return reason === undefined ? undefined : this.#errorOf("ERR_SESSION_UNAVAILABLE", what, sid, reason);
  }

  #errorOf(
    code: SessionStoreErrorCode,
    what: string,
    sid: string | undefined,
    reason: string,
  ): SessionStoreError {
    const where = sid === undefined ? what : `${what} of session ${hashSid(sid)}`;
    return this.#withKey(new SessionStoreError(code, `${where}: ${reason}`), sid);
  }

  #withKey<E>(error: E, sid: string | undefined): E {
    if (sid === undefined || !(error instanceof SessionStoreError)) return error;
    return withHidden(error, { key: `${this.#options.prefix ?? ""}${sid}` });
  }

  /** Resolves when all operations that are running now have settled: after the limit at the latest. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#operations);
  }
}

/** Turns what `work` throws into a rejection. */
function attempt<T>(work: (deadline: Deadline) => Promise<T>, deadline: Deadline): Promise<T> {
  try {
    return work(deadline);
  } catch (error) {
    return Promise.reject(error);
  }
}
