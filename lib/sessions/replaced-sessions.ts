import { indexValueOf } from "./index-value.ts";
import type { LoadedState } from "./loaded-state.ts";
import type { SessionOperations } from "./session-operations.ts";

/** A deleted session that a new one replaces. */
export interface ReplacedSession {
  /** Undefined if it had none, or if that is not known. */
  readonly indexValue: string | undefined;
}

/**
 * New sessions of requests whose own session had been deleted when they called `regenerate`. A request that copies its user to
 * the new session would restore, under another id, what a logout or a ban has ended.
 */
export class ReplacedSessions {
  readonly #operations: SessionOperations;
  readonly #replacedBy = new WeakMap<object, Promise<ReplacedSession | undefined>>();

  constructor(operations: SessionOperations) {
    this.#operations = operations;
  }

  /**
   * `regenerate` replaces `former` by `session`.
   * @param loaded undefined if `former` is not known to have been in Redis
   * @param deletion how many sessions `regenerate` itself deleted; undefined if that is not known
   */
  add(
    session: object,
    former: object,
    loaded: LoadedState | undefined,
    deletion: Promise<number> | undefined,
  ): void {
    const inherited = this.#replacedBy.get(former);
    if (inherited === undefined && (loaded === undefined || deletion === undefined)) return;
    const replaced = this.#determine(inherited, loaded, deletion);
    // Saves get it.
    replaced.catch(() => {});
    this.#replacedBy.set(session, replaced);
  }

  /** `session` is another object for the session that `former` is. */
  inherit(session: object, former: object): void {
    const replaced = this.#replacedBy.get(former);
    if (replaced !== undefined) this.#replacedBy.set(session, replaced);
  }

  /** The deleted session that `session` replaces, if any. Rejects if it cannot be parsed: nobody knows whether it is restored. */
  of(session: object): Promise<ReplacedSession | undefined> | undefined {
    return this.#replacedBy.get(session);
  }

  /** The session has been reported. */
  delete(session: object): void {
    this.#replacedBy.delete(session);
  }

  async #determine(
    inherited: Promise<ReplacedSession | undefined> | undefined,
    loaded: LoadedState | undefined,
    deletion: Promise<number> | undefined,
  ): Promise<ReplacedSession | undefined> {
    const before = await inherited;
    if (before !== undefined || loaded === undefined || deletion === undefined) return before;
    try {
      if (await deletion) return undefined;
    } catch {
      // The application has got the error, and nothing is known.
      return undefined;
    }
    const { indexBy } = this.#operations.options;
    if (indexBy === undefined) return { indexValue: undefined };
    const session = await this.#operations.parse(loaded.sid, loaded.current);
    try {
      return { indexValue: indexValueOf(indexBy, session) };
    } catch {
      return { indexValue: undefined };
    }
  }
}
