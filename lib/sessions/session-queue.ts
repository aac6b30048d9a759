import type { Deadline, Deadlines } from "../redis/deadlines.ts";

/** The place of one operation in the queues of its sessions. Neither promise rejects. */
interface Turn {
  /** Its caller has the outcome, or its timeout. */
  readonly answered: Promise<unknown>;
  /** Nothing of it is under way any more. */
  readonly settled: Promise<unknown>;
}

/**
 * Runs the writes, touches and deletions of one session in the order of their calls, whatever the client: a pool has several
 * connections, a reconnect lets later commands overtake earlier ones, and an unknown script is sent twice.
 *
 * An operation starts when the one before it has settled, not when its caller got a timeout: Redis may still execute that
 * one. An operation whose own deadline passes while it waits is never sent.
 */
export class SessionQueue {
  readonly #deadlines: Deadlines;
  /** The newest operation of each session. */
  readonly #turns = new Map<string, Turn>();

  constructor(deadlines: Deadlines) {
    this.#deadlines = deadlines;
  }

  /** Whether an operation of the session is under way. */
  isBusy(sid: string): boolean {
    return this.#turns.has(sid);
  }

  /** Resolves when all operations of a session called so far have been answered; undefined if there are none. */
  answered(sid: string): Promise<unknown> | undefined {
    return this.#turns.get(sid)?.answered;
  }

  /** Resolves when all operations called so far, of all sessions, have settled. */
  settled(): Promise<unknown> {
    return Promise.all([...new Set(this.#turns.values())].map(({ settled }) => settled));
  }

  /**
   * Runs `work` when all earlier operations of the sessions have settled.
   * @param what names the operation in the error of its timeout
   */
  run<T>(sids: readonly string[], what: string, work: (deadline: Deadline) => Promise<T>): Promise<T> {
    const before = this.#settledOf(sids);
    let settled: Promise<unknown> = Promise.resolve();
    const answer = this.#deadlines.run(what, (deadline) => {
      const result = before === undefined ? work(deadline) : before.then(() => startInTime(deadline, work));
      settled = result.then(ignore, ignore);
      return result;
    });
    const turn: Turn = { answered: answer.then(ignore, ignore), settled };
    for (const sid of sids) this.#turns.set(sid, turn);
    settled.then(() => {
      for (const sid of sids) if (this.#turns.get(sid) === turn) this.#turns.delete(sid);
    });
    return answer;
  }

  #settledOf(sids: readonly string[]): Promise<unknown> | undefined {
    const turns = new Set<Turn>();
    for (const sid of sids) {
      const turn = this.#turns.get(sid);
      if (turn !== undefined) turns.add(turn);
    }
    return turns.size === 0 ? undefined : Promise.all([...turns].map(({ settled }) => settled));
  }
}

function startInTime<T>(deadline: Deadline, work: (deadline: Deadline) => Promise<T>): Promise<T> {
  if (deadline.passed) throw new Error("It took too long to wait for the session's earlier operations");
  return work(deadline);
}

function ignore(): void {}
