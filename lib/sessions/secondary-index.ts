import type { SessionData } from "express-session";
import { isSid } from "../invalidation/messages.ts";
import { checkMethodOptions } from "../options/option.ts";
import type { IndexBy } from "../options/types.ts";
import type { IndexCommands, ListedEntry, OutdatedEntry } from "../redis/index-commands.ts";
import { sha1Of } from "../redis/script.ts";
import type { ExaminedSession, StoredValue } from "../redis/session-values.ts";
import { hashSid } from "../reporting/diagnostics.ts";
import { describeArgument, optionError } from "../reporting/errors.ts";
import type { UserSession } from "../reporting/types.ts";
import { ExaminedDeletion } from "./examined-deletion.ts";
import { checkIndexValue, indexValueOf } from "./index-value.ts";
import type { SessionOperations } from "./session-operations.ts";
import type { ScanOptions, SessionScan } from "./session-scan.ts";
import { isPromise, type StoredSession } from "./stored-session.ts";

/** How far `reindex` has come. */
export interface ReindexProgress {
  /** Sessions examined. */
  readonly scanned: number;
  /** Of these, the ones that have an index value. */
  readonly indexed: number;
  /** Of these, the ones whose index value cannot be determined: each is reported as `clusterError`. */
  readonly skipped: number;
  /** Where to continue: pass it to `reindex`. Undefined when finished. */
  readonly cursor: string | undefined;
}

/** Options of `reindex`. */
export interface ReindexOptions extends ScanOptions<ReindexProgress> {}

/** Options of `destroyAllOf`. */
export interface DestroyAllOptions {
  /** The id of a session to keep, usually the request's own. */
  readonly except?: string | undefined;
  /** How many of the newest sessions to keep, `except` included. @default 0 */
  readonly keepNewest?: number | undefined;
}

/** How many sessions are read, or deleted, at once. */
const BATCH_SIZE = 1_000;

/** What becomes of the entries of an index value when they are compared with the sessions. */
interface Compared {
  /** The sessions that have the value. */
  readonly found: readonly FoundSession[];
  /** Sessions that can be neither decoded nor parsed: here, nobody can use them. */
  readonly unreadable: readonly ExaminedSession[];
  /** Entries of sessions that do not exist, or have another value. */
  readonly outdated: readonly OutdatedEntry[];
}

type FoundSession = UserSession & ExaminedSession;

/** What is known of a session; undefined if `indexBy` failed, "unreadable" if it could not even be called. */
type Examined =
  | { readonly session: SessionData; readonly value: string | undefined }
  | "unreadable"
  | undefined;

type IndexOperation = "sessionsOf" | "countOf" | "destroyOf" | "destroyAllOf";

/** The sessions of an index value, say of a user: what the index names, compared with the sessions themselves. */
export class SecondaryIndex {
  readonly #operations: SessionOperations;
  readonly #index: IndexCommands;
  readonly #indexBy: IndexBy;
  readonly #scan: SessionScan;

  constructor(operations: SessionOperations, scan: SessionScan, indexBy: IndexBy) {
    this.#operations = operations;
    this.#index = operations.commands.index;
    this.#indexBy = indexBy;
    this.#scan = scan;
  }

  /** The sessions of a value that exist when it is called, the newest first. */
  async *stream(value: string): AsyncGenerator<UserSession> {
    for await (const { found } of this.#compareAll(value, "sessionsOf")) {
      for (const { sha1: _, ...session } of found) yield session;
    }
  }

  /** How many sessions of a value exist, by their entries alone. */
  async count(value: string): Promise<number> {
    const entries = await this.#list(value, "countOf");
    let count = 0;
    for (let i = 0; i < entries.length; i += BATCH_SIZE) {
      const batch = entries.slice(i, i + BATCH_SIZE);
      const sids = batch.map(({ sid }) => sid);
      const existing = await this.#operations.queue.run("countOf", undefined, (deadline) =>
        this.#operations.commands.existing(deadline, sids),
      );
      count += existing.length;
      if (existing.length === sids.length) continue;
      const exists = new Set(existing);
      const missing = batch.filter(({ sid }) => !exists.has(sid));
      const outdated = missing.map((entry) => ({ ...entry, sha1: undefined }));
      await this.#removeOutdated(value, outdated, "countOf");
    }
    return count;
  }

  /** Deletes the session of a value that has a public id. @returns whether there was one */
  async destroyOne(value: string, publicId: string): Promise<boolean> {
    if (typeof publicId !== "string") throw optionError("publicId", "a string", publicId);
    checkIndexValue(value);
    try {
      const entries = await this.#list(value, "destroyOf");
      const named = entries.filter(({ sid }) => hashSid(sid) === publicId);
      if (named.length === 0) return false;
      const { found, unreadable } = await this.#compare(value, named);
      const deletion = this.#deletion(value, "destroyOf");
      await deletion.run([...found, ...unreadable]);
      return deletion.end() > 0;
    } catch (error) {
      this.#dropStale((sid, stored) => hashSid(sid) === publicId && this.#mayHave(value, sid, stored));
      throw error;
    }
  }

  /**
   * Deletes the sessions of a value that exist now, but for `except` and the `keepNewest` newest. One that is changed
   * meanwhile is deleted if it still has the value.
   * @returns how many
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than it can be examined; the others are deleted.
   * TypeError for wrong options
   */
  async destroyAll(value: string, options: DestroyAllOptions): Promise<number> {
    checkIndexValue(value);
    checkDestroyAllOptions(options);
    const { except, keepNewest = 0 } = options;
    try {
      let places = keepNewest;
      if (places > 0 && except != null && (await this.#has(value, except))) places--;
      const deletion = this.#deletion(value, "destroyAllOf");
      for await (const { found, unreadable } of this.#compareAll(value, "destroyAllOf")) {
        const others = found.filter(({ sid }) => sid !== except);
        await deletion.run([...others.slice(places), ...unreadable.filter(({ sid }) => sid !== except)]);
        places -= Math.min(places, others.length);
      }
      return deletion.end();
    } catch (error) {
      this.#dropStale((sid, stored) => sid !== except && this.#mayHave(value, sid, stored));
      throw error;
    }
  }

  /** If Redis does not answer, what was to be deleted must not be served without it either. */
  #dropStale(isObsolete: (sid: string, stored: StoredSession) => boolean): void {
    if (this.#operations.stale !== undefined) this.#operations.cache.invalidateWhere(isObsolete);
  }

  /** Whether a session has a value; also if that cannot be determined at once. */
  #mayHave(value: string, sid: string, { text }: StoredSession): boolean {
    try {
      const session = this.#operations.parse(sid, text);
      if (!isPromise(session)) return indexValueOf(this.#indexBy, session) === value;
      session.catch(() => {});
    } catch {
      // It cannot be parsed, or has no valid index value.
    }
    return true;
  }

  /** Adds those sessions to the index that were written without it. */
  reindex(options: ReindexOptions): Promise<ReindexProgress> {
    return this.#scan.examineAll("indexed", (sid, stored) => this.#addToIndex(sid, stored), options);
  }

  async #addToIndex(sid: string, stored: StoredValue): Promise<"indexed" | "skipped" | "without value"> {
    const examined = await this.#examine(sid, stored);
    if (examined === undefined || examined === "unreadable") return "skipped";
    const { value } = examined;
    if (value === undefined) return "without value";
    const ttlMs = stored.expiresAt === undefined ? undefined : stored.expiresAt - performance.now();
    await this.#operations.queue.run("reindex", sid, (deadline) =>
      this.#index.add(deadline, { sid, ttlMs, value }),
    );
    return "indexed";
  }

  #deletion(value: string, reason: "destroyOf" | "destroyAllOf"): ExaminedDeletion {
    const examine = async (sid: string, stored: StoredValue) => {
      const examined = await this.#examine(sid, stored);
      return examined === "unreadable" || examined?.value === value;
    };
    return new ExaminedDeletion(this.#operations, { reason, indexValue: value, examine });
  }

  async #has(value: string, sid: string): Promise<boolean> {
    const [read] = await this.#scan.readMany([sid]);
    const examined = read && (await this.#examine(sid, read.stored));
    return examined !== undefined && examined !== "unreadable" && examined.value === value;
  }

  /** The entries of a value, the newest first. */
  #list(value: string, operation: IndexOperation): Promise<ListedEntry[]> {
    checkIndexValue(value);
    return this.#operations.queue.run(operation, undefined, (deadline) => this.#index.list(deadline, value));
  }

  /** Compares the entries of a value with the sessions, in batches, the newest first. Removes outdated entries. */
  async *#compareAll(value: string, operation: IndexOperation): AsyncGenerator<Compared> {
    const entries = await this.#list(value, operation);
    for (let i = 0; i < entries.length; i += BATCH_SIZE) {
      const compared = await this.#compare(value, entries.slice(i, i + BATCH_SIZE));
      await this.#removeOutdated(value, compared.outdated, operation);
      yield compared;
    }
  }

  /** Compares entries with the sessions. One for which `indexBy` fails is in none of the lists. */
  async #compare(value: string, entries: readonly ListedEntry[]): Promise<Compared> {
    const read = await this.#scan.readMany(entries.map(({ sid }) => sid));
    const storedOf = new Map(read.map(({ sid, stored }) => [sid, stored]));
    const found: FoundSession[] = [];
    const unreadable: ExaminedSession[] = [];
    const outdated: OutdatedEntry[] = [];
    for (const entry of entries) {
      const { sid, since } = entry;
      const stored = storedOf.get(sid);
      if (stored === undefined) {
        outdated.push({ ...entry, sha1: undefined });
        continue;
      }
      const examined = await this.#examine(sid, stored);
      if (examined === undefined) continue;
      const sha1 = sha1Of(stored.value);
      if (examined === "unreadable") unreadable.push({ sid, sha1 });
      else if (examined.value !== value) outdated.push({ ...entry, sha1 });
      else {
        const identified = this.#scan.identify(sid, examined.session, stored);
        found.push({ ...identified, since: new Date(since), sha1 });
      }
    }
    return { found, unreadable, outdated };
  }

  async #removeOutdated(
    value: string,
    outdated: readonly OutdatedEntry[],
    operation: IndexOperation,
  ): Promise<void> {
    if (outdated.length === 0) return;
    try {
      await this.#operations.queue.run(operation, undefined, (deadline) =>
        this.#index.removeOutdated(deadline, value, outdated),
      );
    } catch (error) {
      // They do no harm, and the next listing tries again.
      this.#operations.emit("clusterError", error as Error);
    }
  }

  /** Examines a session. If it has no value that can be determined, the event `clusterError` reports it. */
  async #examine(sid: string, stored: StoredValue): Promise<Examined> {
    const session = await this.#scan.copyOf(sid, stored);
    if (session === undefined) return "unreadable";
    try {
      return { session, value: indexValueOf(this.#indexBy, session) };
    } catch (error) {
      this.#operations.emit("clusterError", error as Error);
      return undefined;
    }
  }
}

/** A mistake here would end the sessions that should stay. @throws TypeError */
function checkDestroyAllOptions(options: unknown): void {
  checkMethodOptions(options, ["except", "keepNewest"], "{ except: req.sessionID }");
  const { except, keepNewest = 0 } = options;
  if (!Number.isSafeInteger(keepNewest) || (keepNewest as number) < 0) {
    throw optionError("keepNewest", "0 or a positive whole number", keepNewest);
  }
  if (except != null && !isSid(except)) {
    throw optionError("except", "a session id", except, describeArgument(except));
  }
}
