import { isSid } from "../invalidation/messages.ts";
import type { ExaminedSession, StoredValue, UnchangedDeletion } from "../redis/session-values.ts";
import type { SessionStoreError } from "../reporting/errors.ts";
import { conflictError, MAX_CONFLICTS } from "./serializer.ts";
import type { SessionOperations } from "./session-operations.ts";

/** Which sessions are deleted, and why. */
export interface ExaminedDeletionOptions {
  /** The method that deletes them, for messages and events. */
  readonly reason: "destroyWhere" | "destroyOf" | "destroyAllOf";
  /** The index value of all of them, if it is known. */
  readonly indexValue: string | undefined;
  /** Whether a session is to be deleted; called again for one that has changed. */
  readonly examine: (sid: string, stored: StoredValue) => Promise<boolean>;
}

/**
 * Deletes sessions that were examined, each only while it is what was examined: somebody else may log in meanwhile, and must
 * not be logged out by a decision about the session's former user.
 */
export class ExaminedDeletion {
  readonly #operations: SessionOperations;
  readonly #options: ExaminedDeletionOptions;
  #deleted = 0;
  /** The first session that changed faster than it could be examined. */
  #conflict: SessionStoreError | undefined;

  constructor(operations: SessionOperations, options: ExaminedDeletionOptions) {
    this.#operations = operations;
    this.#options = options;
  }

  /** Deletes a batch of sessions for which `examine` holds. One that has changed is examined again. */
  async run(sessions: readonly ExaminedSession[]): Promise<void> {
    // SCAN may have returned one twice.
    let remaining = new Map(sessions.map((session) => [session.sid, session]));
    for (let conflicts = 0; remaining.size > 0; conflicts++) {
      if (conflicts > MAX_CONFLICTS) {
        const [sid] = remaining.keys();
        this.#conflict ??= conflictError(this.#operations.format, sid as string);
        return;
      }
      const outcomes = await this.#deleteAll(remaining);
      remaining = new Map();
      for (const [sid, outcome] of outcomes) {
        if (outcome === "deleted") this.#deleted++;
        else if (outcome !== "missing" && (await this.#options.examine(sid, outcome)))
          remaining.set(sid, { sid, sha1: outcome.sha1 });
      }
    }
  }

  /**
   * Ends it, after all batches.
   * @returns how many sessions were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changed faster than it could be examined; the others are deleted
   */
  end(): number {
    if (this.#conflict !== undefined) throw this.#conflict;
    return this.#deleted;
  }

  /** Deletes sessions that are still what was examined. The messages and the events name only those that were deleted. */
  async #deleteAll(
    sessions: ReadonlyMap<string, ExaminedSession>,
  ): Promise<(readonly [sid: string, UnchangedDeletion])[]> {
    const { commands, coordinator, emit, queue } = this.#operations;
    const { reason, indexValue } = this.#options;
    const batches = commands.batches([...sessions.keys()]).map((sids) =>
      queue.delete(sids, async (deadline, queued) => {
        const announcement = queued.announce(coordinator?.announcements.ofUnchanged(reason, deadline));
        const named = sids.map((sid) => ({ ...(sessions.get(sid) as ExaminedSession), isNamed: isSid(sid) }));
        const results = await commands.deleteUnchanged(deadline, named, indexValue, announcement);
        const outcomes = sids.map((sid, i) => [sid, results[i] as UnchangedDeletion] as const);
        const deleted = outcomes.filter(([, outcome]) => outcome === "deleted");
        queued.isPublished = deleted.length > 0;
        if (announcement?.isReported()) return outcomes;
        for (const [sid] of deleted) emit("destroyed", sid, coordinator?.nodeId ?? "", reason);
        return outcomes;
      }),
    );
    return (await Promise.all(batches)).flat();
  }
}
