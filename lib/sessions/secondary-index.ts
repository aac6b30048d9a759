import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import type { IndexCommands } from "../redis/index-commands.ts";
import { shown } from "../reporting/errors.ts";
import type { IdentifiedSession } from "../reporting/store-reports.ts";
import { indexValueOf } from "./index-value.ts";
import type { SharedSessions } from "./session-operations.ts";
import type { AllSessions } from "./session-scan.ts";

/** How far `reindex` has come. */
export interface ReindexProgress {
  /** Sessions looked at. */
  readonly scanned: number;
  /** Of these, such as have a value to be found by. */
  readonly indexed: number;
  /** Where to go on: pass it to `reindex` to begin there. Undefined when all is done. */
  readonly cursor: string | undefined;
}

/** What `reindex` may be told. */
export interface ReindexOptions {
  /** Where an earlier run has come to. @default the beginning */
  readonly cursor?: string | undefined;
  /** Called after each batch. */
  readonly onProgress?: ((progress: ReindexProgress) => void) | undefined;
}

/** So many sessions are read, or deleted, at once. */
const AT_ONCE = 1_000;

/** The sessions that belong to a value, say to a user: what the index names, compared with what there is. */
export class IndexedSessions {
  readonly #sessions: SharedSessions;
  readonly #index: IndexCommands;
  readonly #indexBy: IndexBy;
  readonly #all: AllSessions;

  /** @throws TypeError when there is no index */
  constructor(sessions: SharedSessions, all: AllSessions, indexBy: IndexBy | undefined) {
    if (indexBy === undefined || sessions.index === undefined) {
      throw new TypeError(
        "indexBy: expected a function of the session, which this method needs, got undefined",
      );
    }
    this.#sessions = sessions;
    this.#index = sessions.index;
    this.#indexBy = indexBy;
    this.#all = all;
  }

  /** The sessions of a value, the newest first. */
  async of(value: string): Promise<IdentifiedSession[]> {
    checkValue(value);
    const sids = await this.#sessions.within("sessionsOf", (deadline) => this.#index.list(deadline, value));
    const found: IdentifiedSession[] = [];
    for (let i = 0; i < sids.length; i += AT_ONCE) {
      const read = await this.#all.read(sids.slice(i, i + AT_ONCE));
      found.push(...read.filter(({ session }) => this.#valueOf(session) === value));
    }
    return found;
  }

  /**
   * Deletes the sessions of a value, as often as there are any: one may be added while others are being deleted.
   * @param except one that stays
   * @returns how many were deleted
   */
  async destroyAll(value: string, except: string | undefined): Promise<number> {
    let deleted = 0;
    for (;;) {
      const sids = (await this.of(value)).map(({ sid }) => sid).filter((sid) => sid !== except);
      if (sids.length === 0) return deleted;
      for (let i = 0; i < sids.length; i += AT_ONCE) {
        deleted += await this.#sessions.delete(sids.slice(i, i + AT_ONCE), "destroyAllOf", value);
      }
    }
  }

  /** Brings those sessions into the index that were written without it. */
  async reindex({ cursor, onProgress }: ReindexOptions): Promise<ReindexProgress> {
    let progress: ReindexProgress = { scanned: 0, indexed: 0, cursor };
    for await (const page of this.#sessions.pages(cursor)) {
      const found = page.sids.length === 0 ? [] : await this.#sessions.readAll(page.sids);
      const noted = await Promise.all(
        found.map(async ({ sid, stored }) => {
          const session = await this.#sessions.within("parse", async () => stored.copy());
          const value = session === null ? undefined : this.#valueOf(session);
          if (value === undefined) return 0;
          const ttlMs = stored.expiresAt === undefined ? undefined : stored.expiresAt - Date.now();
          await this.#sessions.within("reindex", (deadline) =>
            this.#index.note(deadline, { sid, ttlMs, value }),
          );
          return 1;
        }),
      );
      const indexed = noted.reduce<number>((sum, one) => sum + one, progress.indexed);
      progress = { scanned: progress.scanned + found.length, indexed, cursor: page.next };
      onProgress?.(progress);
    }
    return progress;
  }

  #valueOf(session: SessionData): string | undefined {
    return indexValueOf(this.#indexBy, session);
  }
}

function checkValue(value: unknown): void {
  if (typeof value === "string" && value !== "") return;
  throw new TypeError(
    `value: expected a string that is not empty, as indexBy returns it, got ${shown(value)}`,
  );
}
