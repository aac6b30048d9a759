import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import type { IndexCommands, ListedEntry, StaleEntry } from "../redis/index-commands.ts";
import { sha1Of } from "../redis/script.ts";
import type { EmitEvent, IdentifiedSession } from "../reporting/types.ts";
import { ExaminedDeletion } from "./examined-deletion.ts";
import { checkIndexValue, indexValueOf } from "./index-value.ts";
import type { SessionOperations } from "./session-operations.ts";
import type { SessionScan } from "./session-scan.ts";
import type { StoredSession } from "./stored-session.ts";

/** How far `reindex` has come. */
export interface ReindexProgress {
  /** Sessions examined. */
  readonly scanned: number;
  /** Of these, the ones that have an index value. */
  readonly indexed: number;
  /** Of these, the ones whose index value cannot be determined: each is reported as `clusterError`. */
  readonly skipped: number;
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

/** A session of an index value. */
interface FoundSession extends IdentifiedSession {
  readonly stored: StoredSession;
}

/** The sessions of an index value, say of a user: what the index names, compared with the sessions themselves. */
export class SecondaryIndex {
  readonly #operations: SessionOperations;
  readonly #index: IndexCommands;
  readonly #indexBy: IndexBy;
  readonly #scan: SessionScan;
  readonly #emit: EmitEvent;

  /** @throws TypeError if there is no index */
  constructor(
    operations: SessionOperations,
    scan: SessionScan,
    indexBy: IndexBy | undefined,
    emit: EmitEvent,
  ) {
    if (indexBy === undefined || operations.index === undefined) {
      throw new TypeError(
        "indexBy: expected a function of the session, which this method needs, got undefined",
      );
    }
    this.#operations = operations;
    this.#index = operations.index;
    this.#indexBy = indexBy;
    this.#scan = scan;
    this.#emit = emit;
  }

  /**
   * The sessions of a value, the newest first.
   * @param operation the method that lists them, for traces
   */
  async list(value: string, operation: "sessionsOf" | "countOf"): Promise<IdentifiedSession[]> {
    const found: IdentifiedSession[] = [];
    for await (const batch of this.#find(value, operation)) {
      for (const { sid, session } of batch) found.push({ sid, session });
    }
    return found;
  }

  /**
   * Deletes the sessions of a value that exist now. One that is changed meanwhile is deleted if it still has the value.
   * @param except the id of one that stays
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than it can be examined; the others are deleted
   */
  async destroyAll(value: string, except: string | undefined): Promise<number> {
    const examine = async (sid: string, stored: StoredSession) =>
      (await this.#examine(sid, stored))?.value === value;
    const options = { reason: "destroyAllOf", indexValue: value, examine } as const;
    const deletion = new ExaminedDeletion(this.#operations, this.#emit, options);
    try {
      for await (const batch of this.#find(value, "destroyAllOf")) {
        const sessions = batch.filter(({ sid }) => sid !== except);
        await deletion.run(
          sessions.map(({ sid, stored }) => ({ sid, sha1: sha1Of(stored.value as string) })),
        );
      }
      return deletion.end();
    } catch (error) {
      // If Redis does not answer, they must not be served without it either.
      if (this.#operations.stale !== undefined) {
        const isObsolete = (sid: string, stored: StoredSession) =>
          sid !== except && this.#mayHave(value, sid, stored);
        this.#operations.cache.invalidateWhere(isObsolete);
      }
      throw error;
    }
  }

  /** Whether a session has a value; also if that cannot be determined at once. */
  #mayHave(value: string, sid: string, { text }: StoredSession): boolean {
    try {
      const session = this.#operations.parse(sid, text);
      return session instanceof Promise || indexValueOf(this.#indexBy, session) === value;
    } catch {
      return true;
    }
  }

  /** Adds those sessions to the index that were written without it. */
  async reindex({ cursor, onProgress }: ReindexOptions): Promise<ReindexProgress> {
    let progress: ReindexProgress = { scanned: 0, indexed: 0, skipped: 0, cursor };
    for await (const page of this.#operations.pages(cursor)) {
      const found = page.sids.length === 0 ? [] : await this.#operations.readMany(page.sids);
      const outcomes = await Promise.all(found.map(({ sid, stored }) => this.#note(sid, stored)));
      const count = (outcome: string) => outcomes.filter((each) => each === outcome).length;
      progress = {
        scanned: progress.scanned + found.length,
        indexed: progress.indexed + count("indexed"),
        skipped: progress.skipped + count("skipped"),
        cursor: page.next,
      };
      onProgress?.(progress);
    }
    return progress;
  }

  async #note(sid: string, stored: StoredSession): Promise<"indexed" | "skipped" | "without value"> {
    const examined = await this.#examine(sid, stored);
    if (examined === undefined) return "skipped";
    const { value } = examined;
    if (value === undefined) return "without value";
    const ttlMs = stored.expiresAt === undefined ? undefined : stored.expiresAt - performance.now();
    await this.#operations.call("reindex", sid, (deadline) =>
      this.#index.note(deadline, { sid, ttlMs, value }),
    );
    return "indexed";
  }

  /** The sessions of a value that exist when it is called, in batches, the newest first. Removes stale entries. */
  async *#find(
    value: string,
    operation: "sessionsOf" | "countOf" | "destroyAllOf",
  ): AsyncGenerator<FoundSession[]> {
    checkIndexValue(value);
    const entries = await this.#operations.call(operation, undefined, (deadline) =>
      this.#index.list(deadline, value),
    );
    for (let i = 0; i < entries.length; i += BATCH_SIZE) {
      const { found, stale } = await this.#compare(value, entries.slice(i, i + BATCH_SIZE));
      if (stale.length > 0) await this.#removeStale(value, stale, operation);
      yield found;
    }
  }

  /** Compares entries with the sessions. A session whose value cannot be determined is neither found nor stale. */
  async #compare(
    value: string,
    entries: readonly ListedEntry[],
  ): Promise<{ found: FoundSession[]; stale: StaleEntry[] }> {
    const read = await this.#operations.readMany(entries.map(({ sid }) => sid));
    const storedOf = new Map(read.map(({ sid, stored }) => [sid, stored]));
    const found: FoundSession[] = [];
    const stale: StaleEntry[] = [];
    for (const entry of entries) {
      const { sid } = entry;
      const stored = storedOf.get(sid);
      if (stored === undefined) {
        stale.push({ ...entry, sha1: undefined });
        continue;
      }
      const examined = await this.#examine(sid, stored);
      if (examined?.value === value) found.push({ sid, session: examined.session, stored });
      else if (examined !== undefined) stale.push({ ...entry, sha1: sha1Of(stored.value as string) });
    }
    return { found, stale };
  }

  async #removeStale(
    value: string,
    stale: readonly StaleEntry[],
    operation: "sessionsOf" | "countOf" | "destroyAllOf",
  ): Promise<void> {
    try {
      await this.#operations.call(operation, undefined, (deadline) =>
        this.#index.removeStale(deadline, value, stale),
      );
    } catch (error) {
      // They do no harm, and the next listing tries again.
      this.#emit("clusterError", error as Error);
    }
  }

  /** A session and its index value; undefined, with the event `clusterError`, if that cannot be determined. */
  async #examine(
    sid: string,
    stored: StoredSession,
  ): Promise<{ session: SessionData; value: string | undefined } | undefined> {
    const session = await this.#scan.copyOf(sid, stored);
    if (session === undefined) return undefined;
    try {
      return { session, value: indexValueOf(this.#indexBy, session) };
    } catch (error) {
      this.#emit("clusterError", error as Error);
      return undefined;
    }
  }
}
