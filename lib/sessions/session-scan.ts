import type { SessionData } from "express-session";
import type { EmitEvent, IdentifiedSession, ListedSession } from "../reporting/types.ts";
import type { SessionOperations } from "./session-operations.ts";

const BATCH_SIZE = 500;

/** What is done with all sessions, batch by batch: they are never all in memory unless a caller asks for that. */
export class SessionScan {
  readonly #operations: SessionOperations;
  readonly #emit: EmitEvent;

  constructor(operations: SessionOperations, emit: EmitEvent) {
    this.#operations = operations;
    this.#emit = emit;
  }

  async *stream(): AsyncGenerator<IdentifiedSession> {
    for await (const { sids } of this.#operations.pages()) yield* await this.read(sids);
  }

  /** Private copies of those sessions that exist. One that cannot be read is skipped, with the event `clusterError`. */
  async read(sids: readonly string[]): Promise<IdentifiedSession[]> {
    const found: IdentifiedSession[] = [];
    if (sids.length === 0) return found;
    for (const { sid, stored } of await this.#operations.readMany(sids)) {
      try {
        found.push({ sid, session: await this.#operations.copy(sid, stored) });
      } catch (error) {
        this.#emit("clusterError", error as Error);
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
    for await (const { sids } of this.#operations.pages()) for (const sid of sids) found.add(sid);
    return [...found];
  }

  /** Deletes the sessions for which `predicate` holds. @returns how many */
  async deleteWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    let deleted = 0;
    let sids: string[] = [];
    const deleteBatch = async () => {
      const deletion = { sids, reason: "destroyWhere", indexValue: undefined } as const;
      sids = [];
      deleted += await this.#operations.deleteMany(deletion);
    };
    for await (const { sid, session } of this.stream()) {
      if (await predicate(session, sid)) sids.push(sid);
      if (sids.length >= BATCH_SIZE) await deleteBatch();
    }
    if (sids.length > 0) await deleteBatch();
    return deleted;
  }
}
