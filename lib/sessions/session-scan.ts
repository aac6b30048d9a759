import type { SessionData } from "express-session";
import type { IdentifiedSession, ListedSession } from "../reporting/types.ts";
import type { SharedSessions } from "./session-operations.ts";

const DELETED_AT_ONCE = 500;

/** What is done with all sessions there are, batch by batch, so that they are never all in memory unless that is asked for. */
export class AllSessions {
  readonly #sessions: SharedSessions;
  readonly #onUnreadable: (error: Error) => void;

  /** @param onUnreadable hears of each session that cannot be parsed, and is passed over */
  constructor(sessions: SharedSessions, onUnreadable: (error: Error) => void) {
    this.#sessions = sessions;
    this.#onUnreadable = onUnreadable;
  }

  async *stream(): AsyncGenerator<IdentifiedSession> {
    for await (const { sids } of this.#sessions.pages()) yield* await this.read(sids);
  }

  /** Those of the sessions that there are, each a copy of its own. */
  async read(sids: readonly string[]): Promise<IdentifiedSession[]> {
    const found: IdentifiedSession[] = [];
    if (sids.length === 0) return found;
    for (const { sid, stored } of await this.#sessions.readAll(sids)) {
      try {
        const session = await this.#sessions.within("parse", async () => stored.copy());
        if (session !== null) found.push({ sid, session });
      } catch (error) {
        this.#onUnreadable(error as Error);
      }
    }
    return found;
  }

  async list(): Promise<ListedSession[]> {
    const found = new Map<string, ListedSession>();
    for await (const { sid, session } of this.stream()) found.set(sid, Object.assign(session, { id: sid }));
    return [...found.values()];
  }

  async ids(): Promise<string[]> {
    const found = new Set<string>();
    for await (const { sids } of this.#sessions.pages()) for (const sid of sids) found.add(sid);
    return [...found];
  }

  /** Deletes the sessions for which `predicate` holds. @returns how many */
  async deleteWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    let deleted = 0;
    let batch: string[] = [];
    for await (const { sid, session } of this.stream()) {
      if (await predicate(session, sid)) batch.push(sid);
      if (batch.length < DELETED_AT_ONCE) continue;
      deleted += await this.#sessions.delete(batch, "destroyWhere");
      batch = [];
    }
    return batch.length === 0 ? deleted : deleted + (await this.#sessions.delete(batch, "destroyWhere"));
  }
}
