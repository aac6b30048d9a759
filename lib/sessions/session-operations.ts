import type { SessionData } from "express-session";
import { DEFAULT_LIMITS, LocalCache } from "../cache/local-cache.ts";
import { ALWAYS_LIVE, NEVER_LIVE, NearCache, type PendingWrite } from "../cache/near-cache.ts";
import { StaleEntries } from "../cache/stale-entries.ts";
import { ClusterCoordinator } from "../invalidation/coordinator.ts";
import { type DestroyReason, isSid } from "../invalidation/messages.ts";
import { SUBSCRIPTION_BYTES } from "../invalidation/session-subscriptions.ts";
import type { ResolvedOptions } from "../options/options.ts";
import type { IndexBy } from "../options/types.ts";
import { Admission } from "../redis/admission.ts";
import { connectionProblem } from "../redis/connection-state.ts";
import { type Deadline, Deadlines } from "../redis/deadlines.ts";
import type { IndexCommands } from "../redis/index-commands.ts";
import type { Outage } from "../redis/outage.ts";
import { SessionCommands } from "../redis/session-commands.ts";
import { SessionIds, type SidsPage } from "../redis/session-ids.ts";
import type { ExpiryChange, SessionDeletion, SessionSave, SessionTouch } from "../redis/session-values.ts";
import type { Topology } from "../redis/topology.ts";
import type { Counters } from "../reporting/counters.ts";
import { type StoreOperation, traceOperation } from "../reporting/diagnostics.ts";
import type { EmitEvent } from "../reporting/types.ts";
import { touchIndexed } from "./indexed-touch.ts";
import type { SessionMerge } from "./merge.ts";
import {
  conflictError,
  decode,
  encode,
  MAX_CONFLICTS,
  notUtf8Error,
  type SessionFormat,
} from "./serializer.ts";
import { SessionQueue } from "./session-queue.ts";
import { StaleFallback } from "./stale-fallback.ts";
import { StoredSession } from "./stored-session.ts";
import { SubscribedFill } from "./subscribed-fill.ts";

/** Sessions that are to be deleted. */
export interface Deletion extends SessionDeletion {
  /** The method that deletes them, for messages and events. */
  readonly reason: DestroyReason;
}

type Operation = StoreOperation["operation"];

/** A cache whose entries are all as large as one may be holds so many: one huge session must not evict all others. */
const MIN_FULL_CACHE = 16;

/**
 * Each operation on sessions from top to bottom: the cache's rule, the message, Redis, and the outcome for both.
 */
export class SessionOperations {
  readonly localCache: LocalCache<StoredSession>;
  readonly cache: NearCache<StoredSession>;
  readonly coordinator: ClusterCoordinator | undefined;
  readonly commands: SessionCommands;
  /** Undefined without `indexBy`. */
  readonly index: IndexCommands | undefined;
  readonly queue: SessionQueue;
  readonly outage: Outage;
  /** Undefined without `staleIfErrorMs`. */
  readonly stale: StaleFallback | undefined;
  readonly format: SessionFormat;
  readonly #fill: SubscribedFill;
  readonly #ids: SessionIds;
  readonly #indexBy: IndexBy | undefined;
  readonly #deadlines: Deadlines;
  /** Those of parsing, which needs no Redis. */
  readonly #parsing: Deadlines;
  /** Whether cached sessions are compared with what Redis holds. */
  readonly #comparesValues: boolean;
  readonly #counters: Counters;
  readonly #emit: EmitEvent;

  constructor(options: ResolvedOptions, topology: Topology, counters: Counters, emit: EmitEvent) {
    const { client, scanCount, localCache, cluster, commandTimeoutMs } = options;
    this.#indexBy = options.indexBy;
    this.#comparesValues = options.merge !== undefined || options.indexBy !== undefined;
    this.#counters = counters;
    this.#emit = emit;
    this.format = { serializer: options.serializer, codec: options.codec, prefix: topology.fullPrefix };
    this.outage = topology.outage;
    const explain = () => connectionProblem(client, commandTimeoutMs);
    const admission = new Admission(topology, counters);
    this.#deadlines = new Deadlines(commandTimeoutMs, { prefix: topology.fullPrefix, explain, admission });
    this.#parsing = new Deadlines(commandTimeoutMs, { prefix: topology.fullPrefix });
    this.queue = new SessionQueue(this.#deadlines);
    this.commands = new SessionCommands(topology);
    this.index = options.indexBy && this.commands.index;
    this.#ids = new SessionIds(topology, scanCount);
    const limited = { maxSessions: localCache?.maxSize ?? 0, commandTimeoutMs };
    this.coordinator = cluster && new ClusterCoordinator({ ...cluster, ...limited, topology, counters });
    const { maxBytes, staleIfErrorMs } = localCache ?? { ...DEFAULT_LIMITS, staleIfErrorMs: 0 };
    const limits = { ...localCache, maxEntryBytes: maxBytes / MIN_FULL_CACHE };
    this.localCache = new LocalCache(limits);
    const entries = staleIfErrorMs > 0 ? new StaleEntries<StoredSession>(staleIfErrorMs, limits) : undefined;
    this.stale = entries && new StaleFallback(entries, this.outage, { counters, emit });
    const gate = localCache === undefined ? NEVER_LIVE : (this.coordinator ?? ALWAYS_LIVE);
    this.cache = new NearCache(this.localCache, gate, counters, entries, cluster && SUBSCRIPTION_BYTES);
    this.#fill = new SubscribedFill(this.coordinator?.sessions, this.commands, this.cache);
  }

  /** Reads a session that is not cached, and caches it. It is known to be readable. */
  read(sid: string): Promise<StoredSession | undefined> {
    const fetch = (mayFill: boolean) =>
      this.call("get", sid, async (deadline) => {
        const value = await this.#fill.read(deadline, sid, mayFill);
        if (value === undefined) return undefined;
        const stored = this.stored(value.text, value.expiresAt);
        await stored.parse(sid);
        if (!this.#comparesValues) stored.dropValue();
        return stored;
      });
    if (this.stale === undefined) return this.cache.read(sid, fetch);
    return this.stale.read(sid, () => this.cache.read(sid, fetch));
  }

  /** Reads sessions past the cache; those that do not exist are missing. */
  async readMany(sids: readonly string[]): Promise<{ sid: string; stored: StoredSession }[]> {
    if (sids.length === 0) return [];
    const values = await this.call("get many", undefined, (deadline) =>
      this.commands.readMany(deadline, sids),
    );
    return sids.flatMap((sid, i) => {
      const value = values[i];
      return value === undefined ? [] : [{ sid, stored: this.stored(value.text, value.expiresAt) }];
    });
  }

  /** Writes a session. @returns what Redis holds now; undefined if it was refused */
  async write(
    deadline: Deadline,
    pending: PendingWrite,
    save: SessionSave,
  ): Promise<StoredSession | undefined> {
    const { sid, text } = save;
    const value = encode(this.format, sid, text);
    const preparing = this.#fill.prepare(deadline, sid, pending);
    if (preparing !== undefined) await preparing;
    const announcement = this.coordinator?.announcements.ofWrite(sid, deadline);
    pending.sequence = announcement?.sequence;
    const expiresAt = expiryAfter(save.ttlMs);
    let isPublished = false;
    try {
      const isWritten = await this.commands.write(deadline, { ...save, text: value }, announcement);
      isPublished = true;
      return isWritten ? this.#written(pending, value, expiresAt, text) : undefined;
    } finally {
      announcement?.settle(isPublished);
    }
  }

  /**
   * Writes a session over what it is expected to be, and merges it with what others have written meanwhile.
   * @returns what Redis holds now; undefined if the session no longer exists
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` after MAX_CONFLICTS, `ERR_SESSION_CORRUPT` for a value that is not UTF-8
   */
  async merge(
    deadline: Deadline,
    pending: PendingWrite,
    { sid, expected, propose, onAttempt }: SessionMerge,
  ): Promise<StoredSession | undefined> {
    const preparing = this.#fill.prepare(deadline, sid, pending);
    if (preparing !== undefined) await preparing;
    const announcement = this.coordinator?.announcements.ofWrite(sid, deadline);
    pending.sequence = announcement?.sequence;
    let isPublished = false;
    try {
      for (let current = expected, conflicts = 0; conflicts <= MAX_CONFLICTS; conflicts++) {
        const { text, ttlMs, index } = await propose(current);
        const expiresAt = expiryAfter(ttlMs);
        const value = encode(this.format, sid, text);
        onAttempt(text, value);
        const write = { sid, expected: current, text: value, ttlMs, index };
        const result = await this.commands.replace(deadline, write, announcement);
        if (result.written) {
          isPublished = true;
          return this.#written(pending, value, expiresAt, text);
        }
        if (result.current === null) return undefined;
        if (result.current === current) throw notUtf8Error(this.format, sid);
        current = result.current;
        this.#counters.conflicts++;
      }
      throw conflictError(this.format, sid);
    } finally {
      announcement?.settle(isPublished);
    }
  }

  /**
   * Gives a session a new expiry. A cached copy elsewhere never outlives the key it was read from, so that a later expiry
   * is not published, unless it is news: another process would otherwise skip a touch that shortens it again.
   * @param known the value that Redis probably holds; only needed with an index
   * @returns when it expires now, by performance.now(); undefined if it does not exist
   */
  async touch(
    deadline: Deadline,
    session: SessionTouch,
    known: string | undefined,
  ): Promise<number | undefined> {
    const { sid, ttlMs, isNews } = session;
    const expiresAt = performance.now() + ttlMs;
    const touch = this.cache.beginTouch(sid, expiresAt);
    const announcement = this.coordinator?.announcements.ofWrite(sid, deadline);
    let change: ExpiryChange | undefined;
    try {
      if (this.#indexBy === undefined) change = await this.commands.touch(deadline, session, announcement);
      else {
        const parse = (value: string) => this.parse(sid, decode(this.format, sid, value));
        const indexed = { ...session, indexBy: this.#indexBy, known, parse, format: this.format };
        change = await touchIndexed(this.commands, deadline, indexed, announcement);
      }
      return change === "none" ? undefined : expiresAt;
    } finally {
      announcement?.settle(change === "earlier" || (change === "later" && isNews));
      this.cache.endTouch(touch, change === "later");
    }
  }

  /** Deletes any number of sessions, in batches. @returns how many existed */
  async delete({ sids, reason, indexValue }: Deletion): Promise<number> {
    const counts = this.commands.batches(sids).map((batch) =>
      this.writeInTurn("destroy", batch, async (deadline, pending) => {
        // SCAN may find keys whose names are no session ids: no process caches them, and the message would be ignored.
        const content = { type: "SessionDeleted", sids: batch.filter(isSid), reason } as const;
        const announcement = this.coordinator?.announcements.of(content, deadline);
        pending.sequence = announcement?.sequence;
        let isPublished = false;
        try {
          const deleted = await this.commands.delete(deadline, { sids: batch, indexValue }, announcement);
          isPublished = true;
          if (reason === "clear" || announcement?.isReported()) return deleted;
          for (const sid of batch) this.#emit("destroyed", sid, this.coordinator?.nodeId ?? "", reason);
          return deleted;
        } finally {
          announcement?.settle(isPublished);
        }
      }),
    );
    return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
  }

  /** The ids of all sessions, in batches; one may appear twice. @param from the `next` of an earlier page */
  pages(from?: string): AsyncGenerator<SidsPage> {
    return this.#ids.pages((trip) => this.call("scan", undefined, trip), from);
  }

  /** A session that Redis holds. */
  stored(value: string, expiresAt: number | undefined): StoredSession {
    return new StoredSession(this.format, value, expiresAt);
  }

  /**
   * Redis has written a session: the cache gets it before the session's next operation begins. Not if the caller has got a
   * timeout, and takes the outcome for unknown: then the write has ended before.
   * @returns the session
   */
  #written(pending: PendingWrite, value: string, expiresAt: number | undefined, text: string): StoredSession {
    const kept = this.#comparesValues ? value : undefined;
    const stored = new StoredSession(this.format, kept, expiresAt, text);
    this.cache.endWrite(pending, stored);
    return stored;
  }

  /** The session in a text. Fails as `StoredSession.copy` does. */
  parse(sid: string, text: string): SessionData | Promise<SessionData> {
    const session = new StoredSession(this.format, undefined, undefined, text).copy(sid);
    return session instanceof Promise ? this.#inTime(sid, session) : session;
  }

  /** A private copy of a session that is cached or has just been read. Fails as `StoredSession.copy` does. */
  copy(sid: string, stored: StoredSession): SessionData | Promise<SessionData> {
    const { bytes } = stored;
    const copy = stored.copy(sid);
    if (stored.bytes !== bytes) this.cache.recount(sid, stored);
    return copy instanceof Promise ? this.#inTime(sid, copy) : copy;
  }

  /** A session that an asynchronous serializer is parsing, within the timeout of an operation. */
  #inTime(sid: string, session: Promise<SessionData>): Promise<SessionData> {
    return this.#parsing.run("parse", () => session, sid);
  }

  /** Runs an operation within its deadline, and traces it. */
  call<T>(
    operation: Operation,
    sid: string | undefined,
    work: (deadline: Deadline) => Promise<T>,
  ): Promise<T> {
    return this.#trace(operation, sid, () => this.#deadlines.run(operation, work, sid));
  }

  /** Runs an operation on sessions when all earlier ones on them have settled. See `call`. @param bytes what it writes */
  inTurn<T>(
    operation: Operation,
    sids: readonly string[],
    work: (deadline: Deadline) => Promise<T>,
    bytes?: number,
  ): Promise<T> {
    const sid = sids.length === 1 ? sids[0] : undefined;
    return this.#trace(operation, sid, () => this.queue.run(sids, operation, work, bytes));
  }

  /** The same for a write: from its call on, nothing older is served from the cache. */
  writeInTurn<T>(
    operation: Operation,
    sids: readonly string[],
    work: (deadline: Deadline, pending: PendingWrite) => Promise<T>,
    bytes = 0,
  ): Promise<T> {
    // A write that is not sent changes nothing, so the cached session stays. A deletion drops it even so.
    const refusal = operation === "destroy" ? undefined : this.#deadlines.refuse(operation, sids[0], bytes);
    if (refusal !== undefined) return Promise.reject(refusal);
    const pending = this.cache.beginWrite(...sids);
    const outcome = this.inTurn(operation, sids, (deadline) => work(deadline, pending), bytes);
    // Before the caller continues; also if it was never sent, or its caller has got a timeout: then, the outcome is unknown.
    const end = () => this.cache.endWrite(pending);
    outcome.then(end, end);
    return outcome;
  }

  #trace<T>(operation: Operation, sid: string | undefined, run: () => Promise<T>): Promise<T> {
    const isFoundIn =
      operation === "get" || operation === "set" || operation === "touch" ? Boolean : undefined;
    return traceOperation(operation, sid, this.coordinator?.nodeId ?? "", run, isFoundIn);
  }

  /** Unsubscribes, and drops the cache; resolves when every pending operation has settled. */
  close(): Promise<void> {
    this.coordinator?.close();
    this.cache.close();
    this.outage.stop();
    return Promise.all([this.#deadlines.settled(), this.#parsing.settled()]).then(() => {});
  }
}

/** When a key expires that is about to be written, by performance.now(): never later than in Redis. */
function expiryAfter(ttlMs: number | undefined): number | undefined {
  return ttlMs === undefined ? undefined : performance.now() + ttlMs;
}
