import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import type { IndexCommands } from "../redis/index-commands.ts";
import { describeValue } from "../reporting/errors.ts";
import type { IdentifiedSession } from "../reporting/types.ts";
import { indexValueOf } from "./index-value.ts";
import type { SessionOperations } from "./session-operations.ts";
import type { SessionScan } from "./session-scan.ts";

/** How far `reindex` has come. */
export interface ReindexProgress {
  /** Sessions examined. */
  readonly scanned: number;
  /** Of these, the ones that have an index value. */
  readonly indexed: number;
  /** Where to continue: pass it to `reindex`. Undefined when all is done. */
  readonly cursor: string | undefined;
}

/** Options of `reindex`. */
export interface ReindexOptions {
  /** The cursor of an earlier run. @default the beginning */
  readonly cursor?: string | undefined;
  /** Called after each batch. */
  readonly onProgress?: ((progress: ReindexProgress) => void) | undefined;
}

/** How many sessions are read, or deleted, at once. */
const BATCH_SIZE = 1_000;

/** The sessions of an index value, say of a user: what the index names, compared with the sessions themselves. */
export class SecondaryIndex {
  readonly #operations: SessionOperations;
  readonly #index: IndexCommands;
  readonly #indexBy: IndexBy;
  readonly #scan: SessionScan;

  /** @throws TypeError if there is no index */
  constructor(operations: SessionOperations, scan: SessionScan, indexBy: IndexBy | undefined) {
    if (indexBy === undefined || operations.index === undefined) {
      throw new TypeError(
        "indexBy: expected a function of the session, which this method needs, got undefined",
      );
    }
    this.#operations = operations;
    this.#index = operations.index;
    this.#indexBy = indexBy;
    this.#scan = scan;
  }

  /**
   * The sessions of a value, the newest first.
   * @param operation the method that lists them, for traces
   */
  async list(
    value: string,
    operation: "sessionsOf" | "countOf" | "destroyAllOf",
  ): Promise<IdentifiedSession[]> {
    checkValue(value);
    const sids = await this.#operations.call(operation, undefined, (deadline) =>
      this.#index.list(deadline, value),
    );
    const found: IdentifiedSession[] = [];
    for (let i = 0; i < sids.length; i += BATCH_SIZE) {
      const read = await this.#scan.read(sids.slice(i, i + BATCH_SIZE));
      found.push(...read.filter(({ session }) => this.#valueOf(session) === value));
    }
    return found;
  }

  /**
   * Deletes the sessions of a value, until there are none: one may be added while others are being deleted.
   * @param except the id of one that stays
   * @returns how many were deleted
   */
  async destroyAll(value: string, except: string | undefined): Promise<number> {
    let deleted = 0;
    for (;;) {
      const found = await this.list(value, "destroyAllOf");
      const sids = found.map(({ sid }) => sid).filter((sid) => sid !== except);
      if (sids.length === 0) return deleted;
      for (let i = 0; i < sids.length; i += BATCH_SIZE) {
        const batch = sids.slice(i, i + BATCH_SIZE);
        const deletion = { sids: batch, reason: "destroyAllOf", indexValue: value } as const;
        deleted += await this.#operations.deleteMany(deletion);
      }
    }
  }

  /** Adds those sessions to the index that were written without it. */
  async reindex({ cursor, onProgress }: ReindexOptions): Promise<ReindexProgress> {
    let progress: ReindexProgress = { scanned: 0, indexed: 0, cursor };
    for await (const page of this.#operations.pages(cursor)) {
      const found = page.sids.length === 0 ? [] : await this.#operations.readMany(page.sids);
      const noted = await Promise.all(
        found.map(async ({ sid, stored }) => {
          const session = await this.#operations.parse(sid, stored.text);
          const value = this.#valueOf(session);
          if (value === undefined) return 0;
          const ttlMs = stored.expiresAt === undefined ? undefined : stored.expiresAt - performance.now();
          await this.#operations.call("reindex", sid, (deadline) =>
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
    `value: expected a string that is not empty, as indexBy returns it, got ${describeValue(value)}`,
  );
}
