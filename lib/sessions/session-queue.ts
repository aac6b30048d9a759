import type { NearCache } from "../cache/near-cache.ts";
import type { PendingWrite } from "../cache/types.ts";
import type { OutgoingEnvelope } from "../invalidation/types.ts";
import type { Deadline, Deadlines, OperationDetails } from "../redis/deadlines.ts";
import { isTraced, type StoreOperation, traceOperation } from "../reporting/diagnostics.ts";
import type { StoredSession } from "./stored-session.ts";

type Operation = StoreOperation["operation"];

/** What an operation does when all earlier ones of its sessions have settled. */
export type Work<T> = (deadline: Deadline, queued: QueuedOperation) => Promise<T>;

/**
 * Runs the writes, touches and deletions of one session in the order of their calls, which the client does not ensure. All
 * operations run within their deadline, and are traced.
 *
 * An operation starts when the one before it has settled, not when its caller got a timeout: Redis may still execute that
 * one. An operation whose own deadline passes while it waits is never sent.
 */
export class SessionQueue {
  readonly #deadlines: Deadlines;
  readonly #cache: NearCache<StoredSession>;
  readonly #nodeId: string;
  /** For each session, its newest operation that has not settled. No Map, for the reason that `Deadline.end` states. */
  readonly #newest: Record<string, Promise<unknown>> = Object.create(null);

  constructor(deadlines: Deadlines, cache: NearCache<StoredSession>, nodeId: string) {
    this.#deadlines = deadlines;
    this.#cache = cache;
    this.#nodeId = nodeId;
  }

  /** Whether an operation of the session is pending. */
  isBusy(sid: string): boolean {
    return sid in this.#newest;
  }

  /** Resolves when all operations called so far, of all sessions, have settled. */
  settled(): Promise<unknown> {
    return Promise.allSettled(new Set(Object.values(this.#newest)));
  }

  /** Runs an operation that waits for no others. */
  run<T>(
    operation: Operation,
    sid: string | undefined,
    work: (deadline: Deadline) => Promise<T>,
    details: OperationDetails = { sid },
  ): Promise<T> {
    if (!isTraced()) return this.#deadlines.run(operation, work, details);
    return traceOperation(operation, sid, this.#nodeId, () => this.#deadlines.run(operation, work, details));
  }

  /** Runs an operation on sessions when all earlier ones on them have settled. */
  enqueue<T>(operation: Operation, sids: readonly string[], work: Work<T>): Promise<T> {
    const queued = new QueuedOperation(this.#newest, this.#cache, sids, 0);
    return this.run(operation, queued.sid, (deadline) => queued.start(deadline, work), queued);
  }

  /**
   * The same for a write: from its call on, nothing older is served from the cache. One that is refused changes nothing, so the
   * cached session stays.
   * @param bytes the size of what it writes
   */
  write<T>(sid: string, work: Work<T>, bytes = 0): Promise<T> {
    return this.#runWrite("set", new QueuedOperation(this.#newest, this.#cache, [sid], bytes), work);
  }

  /** The same for a deletion. One that is refused drops the cached sessions even so. */
  delete<T>(sids: readonly string[], work: Work<T>): Promise<T> {
    const queued = new QueuedOperation(this.#newest, this.#cache, sids, 0);
    queued.beginWrite();
    return this.#runWrite("destroy", queued, work);
  }

  #runWrite<T>(operation: Operation, queued: QueuedOperation, work: Work<T>): Promise<T> {
    const start = (deadline: Deadline) => {
      queued.beginWrite();
      return queued.start(deadline, work);
    };
    return this.run(operation, queued.sid, start, queued);
  }
}

/** One operation on sessions, from its call until it has settled. */
export class QueuedOperation implements OperationDetails {
  /** Undefined unless there is exactly one. */
  readonly sid: string | undefined;
  readonly bytes: number;
  /** What the cache knows of its write; undefined if it writes nothing. */
  pending: PendingWrite | undefined;
  /**
   * What Redis holds now, if that is known: the cache gets it before the session's next operation begins. Not if the caller has got
   * a timeout, and takes the outcome for unknown: then the write has ended before.
   */
  stored: StoredSession | undefined;
  /** Whether Redis has confirmed that it has published the message. */
  isPublished = false;
  #message: OutgoingEnvelope | undefined;
  readonly #sids: readonly string[];
  readonly #newest: Record<string, Promise<unknown>>;
  readonly #cache: NearCache<StoredSession>;
  #settling: Promise<unknown> | undefined;

  constructor(
    newest: Record<string, Promise<unknown>>,
    cache: NearCache<StoredSession>,
    sids: readonly string[],
    bytes: number,
  ) {
    this.#newest = newest;
    this.#cache = cache;
    this.#sids = sids;
    this.sid = sids.length === 1 ? sids[0] : undefined;
    this.bytes = bytes;
  }

  /** Begins its write, unless it has begun. */
  beginWrite(): void {
    this.pending ??= this.#cache.beginWrite(...this.#sids);
  }

  /** Adds the message that it publishes, if there is one: it is settled with the operation. @returns it */
  announce<M extends OutgoingEnvelope>(message: M | undefined): M | undefined {
    this.#message = message;
    if (this.pending !== undefined) this.pending.sequence = message?.sequence;
    return message;
  }

  /** Does the work when all earlier operations have settled. Not called if it is refused: the next one then waits for these. */
  start<T>(deadline: Deadline, work: Work<T>): Promise<T> {
    const before = this.#before();
    const begin = () => {
      if (deadline.passed) throw new Error("The session's earlier operations took too long");
      return work(deadline, this);
    };
    const settling = before === undefined ? work(deadline, this) : before.then(begin, begin);
    this.#settling = settling;
    for (const sid of this.#sids) this.#newest[sid] = settling;
    return settling;
  }

  /** Ends its write, also if it was never sent, or if its caller has got a timeout: then, the outcome is unknown. */
  onAnswered(): void {
    if (this.pending !== undefined) this.#cache.endWrite(this.pending, this.stored);
  }

  onSettled(): void {
    for (const sid of this.#sids) if (this.#newest[sid] === this.#settling) delete this.#newest[sid];
    this.#message?.settle(this.isPublished);
  }

  #before(): Promise<unknown> | undefined {
    if (this.sid !== undefined) return this.#newest[this.sid];
    const pending = new Set(this.#sids.flatMap((sid) => this.#newest[sid] ?? []));
    return pending.size === 0 ? undefined : Promise.allSettled(pending);
  }
}
