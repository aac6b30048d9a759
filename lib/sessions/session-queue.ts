import type { NearCache, PendingWrite } from "../cache/near-cache.ts";
import type { Deadline, Deadlines } from "../redis/deadlines.ts";
import { isTraced, type StoreOperation, traceOperation } from "../reporting/diagnostics.ts";
import type { StoredSession } from "./stored-session.ts";

type Operation = StoreOperation["operation"];

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
  /** For each session, when its newest operation has settled; it never rejects. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(deadlines: Deadlines, cache: NearCache<StoredSession>, nodeId: string) {
    this.#deadlines = deadlines;
    this.#cache = cache;
    this.#nodeId = nodeId;
  }

  /** Whether an operation of the session is pending. */
  isBusy(sid: string): boolean {
    return this.#turns.has(sid);
  }

  /** Resolves when all operations called so far, of all sessions, have settled. */
  settled(): Promise<unknown> {
    return Promise.all(new Set(this.#turns.values()));
  }

  /** Runs an operation that waits for no others. */
  run<T>(
    operation: Operation,
    sid: string | undefined,
    work: (deadline: Deadline) => Promise<T>,
    bytes = 0,
  ): Promise<T> {
    if (!isTraced()) return this.#deadlines.run(operation, work, sid, bytes);
    return traceOperation(operation, sid, this.#nodeId, () =>
      this.#deadlines.run(operation, work, sid, bytes),
    );
  }

  /**
   * Runs an operation on sessions when all earlier ones on them have settled.
   * @param bytes the size of what it writes
   * @param begin called at once, unless the operation is refused
   */
  runInTurn<T>(
    operation: Operation,
    sids: readonly string[],
    work: (deadline: Deadline) => Promise<T>,
    bytes = 0,
    begin?: () => void,
  ): Promise<T> {
    const before = this.#settledOf(sids);
    let settled: Promise<unknown> | undefined;
    const end = () => {
      for (const sid of sids) if (this.#turns.get(sid) === settled) this.#turns.delete(sid);
    };
    const start = (deadline: Deadline) => {
      begin?.();
      const result = before === undefined ? work(deadline) : before.then(() => startInTime(deadline, work));
      settled = result.then(end, end);
      return result;
    };
    const answer = this.run(operation, sids.length === 1 ? sids[0] : undefined, start, bytes);
    // Refused: the earlier operations keep their turns.
    if (settled === undefined) return answer;
    for (const sid of sids) this.#turns.set(sid, settled);
    return answer;
  }

  /** The same for a write: from its call on, nothing older is served from the cache. */
  write<T>(
    operation: Operation,
    sids: readonly string[],
    work: (deadline: Deadline, pending: PendingWrite) => Promise<T>,
    bytes = 0,
  ): Promise<T> {
    let pending: PendingWrite | undefined;
    const begin = () => {
      pending ??= this.#cache.beginWrite(...sids);
    };
    // A write that is refused changes nothing, so the cached session stays. A deletion drops it even so.
    if (operation === "destroy") begin();
    const workInTurn = (deadline: Deadline) => work(deadline, pending as PendingWrite);
    const outcome = this.runInTurn(operation, sids, workInTurn, bytes, begin);
    // Before the caller continues; also if it was never sent, or its caller has got a timeout: then, the outcome is unknown.
    const end = () => pending && this.#cache.endWrite(pending);
    outcome.then(end, end);
    return outcome;
  }

  #settledOf(sids: readonly string[]): Promise<unknown> | undefined {
    if (sids.length === 1) return this.#turns.get(sids[0] as string);
    const turns = new Set<Promise<unknown>>();
    for (const sid of sids) {
      const turn = this.#turns.get(sid);
      if (turn !== undefined) turns.add(turn);
    }
    return turns.size === 0 ? undefined : Promise.all(turns);
  }
}

function startInTime<T>(deadline: Deadline, work: (deadline: Deadline) => Promise<T>): Promise<T> {
  if (deadline.passed) throw new Error("The session's earlier operations took too long");
  return work(deadline);
}
