import type { SessionData } from "express-session";
import { checkMethodOptions } from "../options/option.ts";
import { sha1Of } from "../redis/script.ts";
import { pagesOfSids, type SidsPage } from "../redis/session-ids.ts";
import type { ExaminedSession, StoredValue } from "../redis/session-values.ts";
import type { Topology } from "../redis/topology.ts";
import { hashSid } from "../reporting/diagnostics.ts";
import { describeArgument, optionError } from "../reporting/errors.ts";
import type { IdentifiedSession, ListedSession } from "../reporting/types.ts";
import { ExaminedDeletion } from "./examined-deletion.ts";
import { lastActiveAt } from "./lifetime.ts";
import { conflictError, decode, encode, MAX_CONFLICTS, notUtf8Error } from "./serializer.ts";
import type { SessionOperations } from "./session-operations.ts";

/** How far `reencode` has come. */
export interface ReencodeProgress {
  /** Sessions examined. */
  readonly scanned: number;
  /** Of these, the ones whose value was replaced. */
  readonly rewritten: number;
  /** Of these, the ones that cannot be decoded or encoded: each is reported as `clusterError`, and not modified. */
  readonly skipped: number;
  /** Where to continue: pass it to `reencode`. Undefined when finished. */
  readonly cursor: string | undefined;
}

/** Options of a method that examines all sessions, and reports its progress as a `P`. */
export interface ScanOptions<P> {
  /** The cursor of an earlier run. @default the beginning */
  readonly cursor?: string | undefined;
  /** Called after each batch. A promise that it returns is awaited: it may write the cursor somewhere. */
  readonly onProgress?: ((progress: P) => unknown) | undefined;
}

/** Options of `reencode`. */
export interface ReencodeOptions extends ScanOptions<ReencodeProgress> {}

const BATCH_SIZE = 500;

/** How far an operation on all sessions has come, which counts sessions with the outcome `K` and those that it skips. */
type Progress<K extends string> = Readonly<Record<K | "scanned" | "skipped", number>> & {
  readonly cursor: string | undefined;
};

/** A session that exists, and its value. */
interface FoundValue {
  readonly sid: string;
  readonly stored: StoredValue;
}

/** What is done with all sessions, batch by batch: they are never all in memory unless a caller asks for that. */
export class SessionScan {
  readonly #operations: SessionOperations;
  readonly #topology: Topology;

  constructor(operations: SessionOperations, topology: Topology) {
    this.#operations = operations;
    this.#topology = topology;
  }

  /** Reads sessions past the cache; those that do not exist are missing. */
  async readMany(sids: readonly string[]): Promise<FoundValue[]> {
    if (sids.length === 0) return [];
    const { commands, queue } = this.#operations;
    const values = await queue.run("get many", undefined, (deadline) => commands.readMany(deadline, sids));
    return sids.flatMap((sid, i) => {
      const stored = values[i];
      return stored === undefined ? [] : [{ sid, stored }];
    });
  }

  /** The ids of all sessions, in batches; one may appear twice. @param from the `next` of an earlier page */
  #pagesOfIds(from?: string): AsyncGenerator<SidsPage> {
    const { options, queue } = this.#operations;
    return pagesOfSids(this.#topology, options.scanCount, (call) => queue.run("scan", undefined, call), from);
  }

  /** Private copies of all sessions. One that cannot be read is skipped, with the event `clusterError`. */
  async *stream(): AsyncGenerator<IdentifiedSession> {
    for await (const { found } of this.#pages()) {
      for (const { sid, stored } of found) {
        const session = await this.copyOf(sid, stored);
        if (session !== undefined) yield this.identify(sid, session, stored);
      }
    }
  }

  /** A private copy of a session; undefined, with the event `clusterError`, if it cannot be read. */
  async copyOf(sid: string, stored: StoredValue): Promise<SessionData | undefined> {
    try {
      return await this.#operations.copy(sid, this.#operations.stored(sid, stored));
    } catch (error) {
      this.#operations.emit("clusterError", error as Error);
      return undefined;
    }
  }

  /** A session with its id, and what its key shows. */
  identify(sid: string, session: SessionData, { expiresAt }: StoredValue): IdentifiedSession {
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
    for await (const { sids } of this.#pagesOfIds()) {
      const batches = commands.batches(sids).map((batch) => ({ sids: batch, indexValue: undefined }));
      await Promise.all(batches.map((batch) => this.#operations.delete(batch, "clear")));
    }
    try {
      await queue.enqueue("clear", [], async (deadline, queued) => {
        const announcement = queued.announce(coordinator?.announcements.of({ type: "CacheClear" }, deadline));
        if (announcement === undefined) return;
        await commands.publish(deadline, announcement);
        queued.isPublished = true;
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
    for await (const { sids } of this.#pagesOfIds()) for (const sid of sids) found.add(sid);
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
    if (typeof predicate !== "function") {
      const expected = "a function of the session and its id";
      throw optionError("predicate", expected, predicate, describeArgument(predicate));
    }
    const examine = async (sid: string, stored: StoredValue) => {
      const session = await this.copyOf(sid, stored);
      return session !== undefined && (await predicate(session, sid));
    };
    const options = { reason: "destroyWhere", indexValue: undefined, examine } as const;
    const deletion = new ExaminedDeletion(this.#operations, options);
    const sessions: ExaminedSession[] = [];
    try {
      for await (const { found } of this.#pages()) {
        for (const { sid, stored } of found) {
          if (await examine(sid, stored)) sessions.push({ sid, sha1: sha1Of(stored.value) });
          if (sessions.length >= BATCH_SIZE) await deletion.run(sessions.splice(0));
        }
      }
      await deletion.run(sessions);
      return deletion.end();
    } catch (error) {
      // If Redis does not answer, none of those that were to be deleted must be served without it.
      if (this.#operations.stale !== undefined) this.#operations.cache.invalidateAll();
      throw error;
    }
  }

  /** Examines all sessions, a page at a time, and counts those with the outcomes `counted` and "skipped". */
  async examineAll<K extends string>(
    counted: K,
    examine: (sid: string, stored: StoredValue) => Promise<string>,
    options: ScanOptions<Progress<K>>,
  ): Promise<Progress<K>> {
    checkProgressOptions(options);
    const { cursor, onProgress } = options;
    let progress = { scanned: 0, [counted]: 0, skipped: 0, cursor } as Progress<K>;
    for await (const { found, next } of this.#pages(cursor)) {
      const outcomes = await Promise.all(found.map(({ sid, stored }) => examine(sid, stored)));
      const count = (outcome: string) => outcomes.filter((each) => each === outcome).length;
      progress = {
        scanned: progress.scanned + found.length,
        [counted]: progress[counted] + count(counted),
        skipped: progress.skipped + count("skipped"),
        cursor: next,
      } as Progress<K>;
      await onProgress?.(progress);
    }
    return progress;
  }

  /**
   * Decodes each session's value and encodes it again, in place. A value is replaced only if it is what was decoded, and its key
   * keeps its expiry: what is deleted stays deleted, and no newer value is lost.
   *
   * Nothing is published, because no session changes. A cached copy then has an outdated value: its next merge or indexed touch
   * finds that out, and takes a second round trip.
   */
  reencode(options: ReencodeOptions): Promise<ReencodeProgress> {
    const rewrite = (sid: string, { value }: StoredValue) =>
      this.#rewrite(sid, value).catch((error: unknown) => {
        const { code } = error as { code?: unknown };
        if (code !== "ERR_SESSION_CORRUPT" && code !== "ERR_SESSION_SERIALIZE") throw error;
        this.#operations.emit("clusterError", error as Error);
        return "skipped";
      });
    return this.examineAll("rewritten", rewrite, options);
  }

  /** Others may write the session meanwhile, also with another codec: then it is tried again with what they have written. */
  async #rewrite(sid: string, found: string): Promise<string> {
    const { commands, format, queue } = this.#operations;
    let expected = found;
    for (let conflicts = 0; conflicts <= MAX_CONFLICTS; conflicts++) {
      const value = encode(format, sid, decode(format, sid, expected));
      if (value === expected) return "unchanged";
      const rewriting = { sid, expected, value };
      const result = await queue.run("reencode", sid, (deadline) => commands.rewrite(deadline, rewriting));
      if (result.written) return "rewritten";
      if (result.current === null) return "gone";
      if (result.current === expected) throw notUtf8Error(format, sid);
      expected = result.current;
    }
    throw conflictError(format, sid);
  }

  /** All sessions, in batches. @param from the `next` of an earlier page */
  async *#pages(from?: string): AsyncGenerator<{ found: FoundValue[]; next: string | undefined }> {
    for await (const { sids, next } of this.#pagesOfIds(from))
      yield { found: await this.readMany(sids), next };
  }
}

/** @throws TypeError */
function checkProgressOptions(options: unknown): void {
  checkMethodOptions(options, ["cursor", "onProgress"], "{ onProgress: console.log }");
  const { onProgress } = options;
  if (onProgress != null && typeof onProgress !== "function") {
    throw optionError("onProgress", "a function of the progress", onProgress);
  }
}
