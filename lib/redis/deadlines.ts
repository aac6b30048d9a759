import type { Counters } from "../reporting/counters.ts";
import { hashSid } from "../reporting/diagnostics.ts";
import { SessionStoreError, type SessionStoreErrorCode, withHidden } from "../reporting/errors.ts";
import type { Outage } from "./outage.ts";

/** Operations of one store that may be unanswered at the same time, and the bytes of what they write. */
const MAX_OPERATIONS = 10_000;
const MAX_OPERATION_BYTES = 16 * 1024 * 1024;
/** How much of that one primary of several may take: the others continue while it is stalled. */
const SHARE_OF_PRIMARY = 0.5;

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
  /**
   * Given, operations that could only wait are refused: while Redis is away, or while so many are unanswered that a stalled Redis
   * would fill the memory. What is refused has not been sent, and never will be.
   */
  readonly admission?: { readonly topology: Primaries; readonly counters: Counters };
}

/** What admission depends on of a topology. */
interface Primaries {
  readonly outage: Outage;
  /** Whether there is only one. */
  readonly combinesKeys: boolean;
  primaryIdOf(sid: string): string | undefined;
}

/** What is known of an operation, and who wants to know of its end. */
export interface OperationDetails {
  /** The session that it concerns, if it is a single one. */
  readonly sid?: string | undefined;
  /** The size of what it writes. @default 0 */
  readonly bytes?: number;
  /** Called once, as soon as its caller's outcome is known, before the caller continues; also if it is refused. Must not throw. */
  onAnswered?(): void;
  /** Called once, when its work has settled: its caller may have got a timeout before. Not if it is refused. Must not throw. */
  onSettled?(): void;
}

/** What is unanswered. */
interface Backlog {
  /** The primary that it waits for, if there are several. */
  readonly primary: string | undefined;
  operations: number;
  bytes: number;
}

/**
 * Settles every operation within one time limit, whatever the client does: node-redis drops its own command timeout once a
 * command is written, and against a stalled server the promise then stays pending forever.
 */
export class Deadlines {
  readonly #limitMs: number;
  readonly #options: DeadlinesOptions;
  readonly #operations = new Set<Promise<unknown>>();
  readonly #total = noBacklog(undefined);
  /** Of the primaries of a Cluster that have any. */
  readonly #backlogs = new Map<string, Backlog>();

  /** @param limitMs the limit of each operation, in milliseconds */
  constructor(limitMs: number, options: DeadlinesOptions = {}) {
    this.#limitMs = limitMs;
    this.#options = options;
  }

  /**
   * The result of `work`, or an `ERR_SESSION_TIMEOUT` error if that takes longer than the limit. The timer does not keep the
   * process alive. If the operation is refused, `work` is not called.
   * @param what names the operation in the error
   */
  run<T>(what: string, work: (deadline: Deadline) => Promise<T>, details: OperationDetails = {}): Promise<T> {
    const { sid, bytes = 0 } = details;
    const backlog = this.#admit(sid, bytes);
    if (typeof backlog === "string") {
      details.onAnswered?.();
      return Promise.reject(this.#errorOf("ERR_SESSION_UNAVAILABLE", what, sid, backlog));
    }
    const operation = new Promise<T>((resolve, reject) => {
      const deadline = new Deadline();
      let immediate: NodeJS.Immediate | undefined;
      const end = () => {
        clearTimeout(timer);
        clearImmediate(immediate);
        this.#operations.delete(operation);
        details.onAnswered?.();
      };
      const expire = () => {
        deadline.pass();
        end();
        const reason = this.#options.explain?.();
        const suffix = reason === undefined ? "" : `: ${reason}`;
        const message = `no answer in ${this.#limitMs} ms${suffix}`;
        reject(this.#errorOf("ERR_SESSION_TIMEOUT", what, sid, message));
        this.#options.admission?.topology.outage.timedOut();
      };
      // After the event loop was blocked, timers run before sockets are read; the reply may be there. Immediates run after.
      const onTimer = () => {
        immediate = setImmediate(expire);
      };
      const timer = setTimeout(onTimer, this.#limitMs).unref();
      const onSettled = () => {
        if (!deadline.passed) end();
        deadline.end();
        if (backlog !== undefined) this.#leave(backlog, bytes);
        details.onSettled?.();
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

  /** An operation is to begin. @returns what it adds to, if that is limited; a text if it must not begin: why */
  #admit(sid: string | undefined, bytes: number): Backlog | string | undefined {
    const { admission } = this.#options;
    if (admission === undefined) return undefined;
    const { topology, counters } = admission;
    let backlog = this.#total;
    let refusal = topology.outage.reason ?? excess(backlog, bytes);
    if (refusal === undefined && sid !== undefined && !topology.combinesKeys) {
      backlog = this.#backlogOf(topology.primaryIdOf(sid));
      refusal = excess(backlog, bytes);
    }
    if (refusal !== undefined) {
      counters.refusals++;
      return refusal;
    }
    add(this.#total, 1, bytes);
    if (backlog.primary === undefined) return backlog;
    this.#backlogs.set(backlog.primary, backlog);
    add(backlog, 1, bytes);
    return backlog;
  }

  #backlogOf(primary: string | undefined): Backlog {
    if (primary === undefined) return this.#total;
    return this.#backlogs.get(primary) ?? noBacklog(primary);
  }

  /** An operation has settled: its caller may have got a timeout before. */
  #leave(backlog: Backlog, bytes: number): void {
    add(this.#total, -1, -bytes);
    if (backlog.primary === undefined) return;
    add(backlog, -1, -bytes);
    if (backlog.operations === 0) this.#backlogs.delete(backlog.primary);
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

function noBacklog(primary: string | undefined): Backlog {
  return { primary, operations: 0, bytes: 0 };
}

function add(backlog: Backlog, operations: number, bytes: number): void {
  backlog.operations += operations;
  backlog.bytes += bytes;
}

function excess({ primary, operations, bytes }: Backlog, more: number): string | undefined {
  const limit = primary === undefined ? 1 : SHARE_OF_PRIMARY;
  const where = primary === undefined ? "" : " by one of the primaries";
  if (operations >= limit * MAX_OPERATIONS) return `${operations} operations are unanswered${where}`;
  // A write that is larger than the limit may run alone; meanwhile, logouts and reads go on.
  if (more === 0 || bytes === 0 || bytes + more <= limit * MAX_OPERATION_BYTES) return undefined;
  return `writes of ${bytes} bytes are unanswered${where}`;
}
