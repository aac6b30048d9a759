import type { SessionData } from "express-session";
import { sha1Of } from "../redis/script.ts";
import type { ExaminedSession } from "../redis/session-values.ts";
import { hashSid } from "../reporting/diagnostics.ts";
import { optionError } from "../reporting/errors.ts";
import type { IdentifiedSession, ListedSession } from "../reporting/types.ts";
import { ExaminedDeletion } from "./examined-deletion.ts";
import { lastActiveAt } from "./lifetime.ts";
import type { SessionOperations } from "./session-operations.ts";
import type { StoredSession } from "./stored-session.ts";

const BATCH_SIZE = 500;

/** What is done with all sessions, batch by batch: they are never all in memory unless a caller asks for that. */
export class SessionScan {
  readonly #operations: SessionOperations;

  constructor(operations: SessionOperations) {
    this.#operations = operations;
  }

  /** Private copies of all sessions. One that cannot be read is skipped, with the event `clusterError`. */
  async *stream(): AsyncGenerator<IdentifiedSession> {
    for await (const page of this.#pages()) {
      for (const { sid, stored } of page) {
        const session = await this.copyOf(sid, stored);
        if (session !== undefined) yield this.identify(sid, session, stored);
      }
    }
  }

  /** A private copy of a session; undefined, with the event `clusterError`, if it cannot be read. */
  async copyOf(sid: string, stored: StoredSession): Promise<SessionData | undefined> {
    try {
      return await this.#operations.copy(sid, stored);
    } catch (error) {
      this.#operations.emit("clusterError", error as Error);
      return undefined;
    }
  }

  /** A session with its id, and what its key shows. */
  identify(sid: string, session: SessionData, { expiresAt }: StoredSession): IdentifiedSession {
    const end = expiresAt === undefined ? undefined : Math.round(Date.now() + expiresAt - performance.now());
    const lastActive =
      end === undefined ? undefined : lastActiveAt(session, this.#operations.options.ttl, end);
    return {
      sid,
      publicId: hashSid(sid),
      session,
      lastActiveAt: lastActive === undefined ? undefined : new Date(lastActive),
      expiresAt: end === undefined ? undefined : new Date(end),
    };
  }

  /** Deletes all sessions, and drops the caches of all processes, even of sessions that Redis no longer has. */
  async clear(): Promise<void> {
    const { cache, commands, coordinator, counters, emit, queue } = this.#operations;
    // Also if Redis does not answer.
    cache.invalidateAll();
    // What was called before must not survive.
    await queue.run("clear", undefined, () => queue.settled());
    cache.invalidateAll();
    for await (const { sids } of this.#operations.pages()) {
      const batches = commands.batches(sids).map((batch) => ({ sids: batch, indexValue: undefined }));
      await Promise.all(batches.map((batch) => this.#operations.delete(batch, "clear")));
    }
    try {
      await queue.run("clear", undefined, async (deadline) => {
        const announcement = coordinator?.announcements.of({ type: "CacheClear" }, deadline);
        if (announcement === undefined) return;
        let isPublished = false;
        try {
          await commands.publish(deadline, announcement);
          isPublished = true;
        } finally {
          announcement.settle(isPublished);
        }
      });
    } finally {
      cache.invalidateAll();
    }
    counters.flushes++;
    emit("flush", "clear");
  }

  async list(): Promise<ListedSession[]> {
    const found = new Map<string, ListedSession>();
    for await (const { sid, session } of this.stream()) found.set(sid, Object.assign(session, { id: sid }));
    return [...found.values()];
  }

  async ids(): Promise<string[]> {
    const found = new Set<string>();
    for await (const { sids } of this.#operations.pages()) for (const sid of sids) found.add(sid);
    return [...found];
  }

  /**
   * Deletes the sessions for which `predicate` holds, each only while it is what the predicate has seen.
   * @returns how many
   * @throws SessionStoreError `ERR_SESSION_CONFLICT`; TypeError if the predicate is no function; what it throws
   */
  async deleteWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    if (typeof predicate !== "function")
      throw optionError("predicate", "a function of the session and its id", predicate);
    const examine = async (sid: string, stored: StoredSession) => {
      const session = await this.copyOf(sid, stored);
      return session !== undefined && (await predicate(session, sid));
    };
    const options = { reason: "destroyWhere", indexValue: undefined, examine } as const;
    const deletion = new ExaminedDeletion(this.#operations, options);
    let sessions: ExaminedSession[] = [];
    const deleteBatch = () => {
      const batch = sessions;
      sessions = [];
      return deletion.run(batch);
    };
    try {
      for await (const page of this.#pages()) {
        for (const { sid, stored } of page) {
          if (await examine(sid, stored)) sessions.push({ sid, sha1: sha1Of(stored.value as string) });
          if (sessions.length >= BATCH_SIZE) await deleteBatch();
        }
      }
      await deleteBatch();
      return deletion.end();
    } catch (error) {
      // If Redis does not answer, none of those that were to be deleted must be served without it.
      if (this.#operations.stale !== undefined) this.#operations.cache.invalidateAll();
      throw error;
    }
  }

  async *#pages(): AsyncGenerator<{ sid: string; stored: StoredSession }[]> {
    for await (const { sids } of this.#operations.pages()) {
      yield await this.#operations.readMany(sids);
    }
  }
}
