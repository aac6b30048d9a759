import type { Deadline, Deadlines } from "../redis/deadlines.ts";

/**
 * Runs the writes, touches and deletions of one session in the order of their calls, which the client does not ensure.
 *
 * An operation starts when the one before it has settled, not when its caller got a timeout: Redis may still execute that
 * one. An operation whose own deadline passes while it waits is never sent.
 */
export class SessionQueue {
  readonly #deadlines: Deadlines;
  /** For each session, when its newest operation has settled; it never rejects. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Whether an operation of the session is pending. */
  isBusy(sid: string): boolean {
    return this.#turns.has(sid);
  }

  /** Resolves when all operations called so far, of all sessions, have settled. */
  settled(): Promise<unknown> {
    return Promise.all(new Set(this.#turns.values()));
  }

  /**
   * Runs `work` when all earlier operations of the sessions have settled.
   * @param what names the operation in the error of its timeout
   * @param bytes the size of what it writes
   */
  run<T>(
    sids: readonly string[],
    what: string,
    work: (deadline: Deadline) => Promise<T>,
    bytes = 0,
  ): Promise<T> {
    const before = this.#settledOf(sids);
    let settled: Promise<unknown> | undefined;
    const end = () => {
      for (const sid of sids) if (this.#turns.get(sid) === settled) this.#turns.delete(sid);
    };
    const start = (deadline: Deadline) => {
      const result = before === undefined ? work(deadline) : before.then(() => startInTime(deadline, work));
      settled = result.then(end, end);
      return result;
    };
    const answer = this.#deadlines.run(what, start, sids.length === 1 ? sids[0] : undefined, bytes);
    // Refused: the earlier operations keep their turns.
    if (settled === undefined) return answer;
    for (const sid of sids) this.#turns.set(sid, settled);
    return answer;
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
  if (deadline.passed) throw new Error("It took too long to wait for the session's earlier operations");
  return work(deadline);
}
