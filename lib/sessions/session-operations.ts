import type { SessionData } from "express-session";
import { DEFAULT_LIMITS, LocalCache } from "../cache/local-cache.ts";
import { NearCache } from "../cache/near-cache.ts";
import { StaleEntries } from "../cache/stale-entries.ts";
import { ALWAYS_LIVE, NEVER_LIVE } from "../cache/types.ts";
import { ClusterCoordinator } from "../invalidation/coordinator.ts";
import { isSid } from "../invalidation/messages.ts";
import { SUBSCRIPTION_BYTES } from "../invalidation/session-subscriptions.ts";
import type { ResolvedOptions } from "../options/options.ts";
import type { IndexBy } from "../options/types.ts";
import { type Deadline, Deadlines } from "../redis/deadlines.ts";
import type { Announcement } from "../redis/executor.ts";
import type { Outage } from "../redis/outage.ts";
import { isTooLong, TOO_LONG } from "../redis/replies.ts";
import { sha1Of } from "../redis/script.ts";
import { SessionCommands } from "../redis/session-commands.ts";
import type { ExpiryChange, SessionDeletion, SessionTouch, StoredValue } from "../redis/session-values.ts";
import type { Topology } from "../redis/topology.ts";
import type { Counters } from "../reporting/counters.ts";
import type { EmitEvent } from "../reporting/types.ts";
import { indexValueOf } from "./index-value.ts";
import type { SessionMerge, UnencodedSave } from "./merge.ts";
import {
  conflictError,
  corruptError,
  decode,
  encode,
  MAX_CONFLICTS,
  notUtf8Error,
  type SessionFormat,
} from "./serializer.ts";
import { type QueuedOperation, SessionQueue } from "./session-queue.ts";
import { StaleFallback } from "./stale-fallback.ts";
import { isPromise, StoredSession } from "./stored-session.ts";

/** A cache whose entries are all as large as one may be holds so many: one huge session must not evict all others. */
const MIN_FULL_CACHE = 16;

/** Each operation on sessions from top to bottom: the cache's rule, the message, Redis, and the outcome for both. */
export class SessionOperations {
  readonly localCache: LocalCache<StoredSession>;
  readonly cache: NearCache<StoredSession>;
  readonly coordinator: ClusterCoordinator | undefined;
  readonly commands: SessionCommands;
  readonly queue: SessionQueue;
  readonly outage: Outage;
  /** Undefined without `staleIfErrorMs`. */
  readonly stale: StaleFallback | undefined;
  readonly format: SessionFormat;
  readonly options: ResolvedOptions;
  readonly counters: Counters;
  readonly emit: EmitEvent;
  readonly #deadlines: Deadlines;
  /** Those of parsing, which needs no Redis. */
  readonly #parsing: Deadlines;
  /** Whether cached sessions are compared with what Redis holds. */
  readonly #comparesValues: boolean;

  constructor(options: ResolvedOptions, topology: Topology, counters: Counters, emit: EmitEvent) {
    const { localCache, cluster, commandTimeoutMs } = options;
    this.options = options;
    this.counters = counters;
    this.emit = emit;
    this.#comparesValues = options.merge !== undefined || options.indexBy !== undefined;
    const prefix = topology.fullPrefix;
    this.format = { serializer: options.serializer, codec: options.codec, prefix };
    this.outage = topology.outage;
    const explain = () => topology.readiness.problem(commandTimeoutMs);
    const admission = { topology, counters };
    this.#deadlines = new Deadlines(commandTimeoutMs, { prefix, explain, admission });
    this.#parsing = new Deadlines(commandTimeoutMs, { prefix });
    this.commands = new SessionCommands(topology);
    const limited = { maxSessions: localCache?.maxSize ?? 0, commandTimeoutMs };
    this.coordinator = cluster && new ClusterCoordinator({ ...cluster, ...limited, topology, counters });
    const { maxBytes, staleIfErrorMs } = localCache ?? { ...DEFAULT_LIMITS, staleIfErrorMs: 0 };
    const limits = { ...localCache, maxEntryBytes: maxBytes / MIN_FULL_CACHE };
    this.localCache = new LocalCache(limits);
    const stale = staleIfErrorMs > 0 ? new StaleEntries<StoredSession>(staleIfErrorMs, limits) : undefined;
    this.stale = stale && new StaleFallback(stale, this.outage, counters, emit);
    const gate = localCache === undefined ? NEVER_LIVE : (this.coordinator ?? ALWAYS_LIVE);
    const entryBytes = cluster && SUBSCRIPTION_BYTES;
    this.cache = new NearCache({ cache: this.localCache, gate, counters, stale, entryBytes });
    this.queue = new SessionQueue(this.#deadlines, this.cache, cluster?.nodeId ?? "");
  }

  /** Reads a session that is not cached, and caches it. It is known to be readable. */
  read(sid: string): Promise<StoredSession | undefined> {
    const fetch = (mayFill: boolean) =>
      this.queue.run("get", sid, (deadline) => this.#fetch(deadline, sid, mayFill));
    if (this.stale === undefined) return this.cache.read(sid, fetch);
    return this.stale.read(sid, () => this.cache.read(sid, fetch));
  }

  /**
   * Reads a session that may be cached, so it must be subscribed when Redis executes the read. They are sent together, on the
   * subscriber's connection. Where that is not possible, the client reads.
   */
  async #fetch(deadline: Deadline, sid: string, mayFill: boolean): Promise<StoredSession | undefined> {
    const reading = mayFill && this.coordinator?.sessions.read(sid, this.commands.subscribedRead(sid));
    const result = reading ? await reading : undefined;
    const read =
      result === undefined || result.value === "long"
        ? await this.#readOnClient(deadline, sid, mayFill)
        : result.value;
    if (read === undefined) return undefined;
    const stored = this.stored(sid, read);
    const parsing = stored.parse(sid);
    if (parsing !== undefined) await parsing;
    return stored;
  }

  /** Reads a session on the client, once it is subscribed. If it is not, the reply is not cached. */
  async #readOnClient(deadline: Deadline, sid: string, mayFill: boolean): Promise<StoredValue | undefined> {
    const channels = this.coordinator?.sessions;
    // Nor may anybody join this read then: later callers may know of later writes.
    if (mayFill && channels !== undefined && !(await channels.subscribe(sid))) this.cache.invalidate(sid);
    return this.commands.read(deadline, sid);
  }

  /**
   * Subscribes to a session that is about to be written. If that fails, what is written will not be cached.
   * @returns undefined if there is nothing to wait for
   */
  #subscribe(deadline: Deadline, sid: string, { pending }: QueuedOperation): Promise<void> | undefined {
    const channels = this.coordinator?.sessions;
    if (pending?.token === undefined || channels === undefined) return undefined;
    const isSubscribed = channels.subscribe(sid);
    if (isSubscribed === false) pending.token = undefined;
    if (typeof isSubscribed === "boolean") return undefined;
    return isSubscribed.then((succeeded) => {
      if (!succeeded) pending.token = undefined;
      if (deadline.passed) throw new Error("It took too long to subscribe");
    });
  }

  /** Writes a session. @returns what Redis holds now; undefined if it was refused */
  async write(
    deadline: Deadline,
    queued: QueuedOperation,
    save: UnencodedSave,
  ): Promise<StoredSession | undefined> {
    const { sid, text, ttlMs, mustExist, index } = save;
    const value = encode(this.format, sid, text);
    const preparing = this.#subscribe(deadline, sid, queued);
    if (preparing !== undefined) await preparing;
    const announcement = queued.announce(this.coordinator?.sessions.announce(sid, deadline));
    const expiresAt = expiryAfter(ttlMs);
    const write = { sid, value, ttlMs, mustExist, index };
    const isWritten = await this.commands.write(deadline, write, announcement);
    queued.isPublished = true;
    if (isWritten) queued.stored = this.#storedAs(value, text, expiresAt);
    return queued.stored;
  }

  /**
   * Writes a session over what it is expected to be, and merges it with what others have written meanwhile.
   * @returns what Redis holds now; undefined if the session no longer exists
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` after MAX_CONFLICTS, `ERR_SESSION_CORRUPT` for a value that is not UTF-8
   */
  async merge(
    deadline: Deadline,
    queued: QueuedOperation,
    { sid, expected, propose, onAttempt }: SessionMerge,
  ): Promise<StoredSession | undefined> {
    const preparing = this.#subscribe(deadline, sid, queued);
    if (preparing !== undefined) await preparing;
    const announcement = queued.announce(this.coordinator?.sessions.announce(sid, deadline));
    for (let current = expected, conflicts = 0; conflicts <= MAX_CONFLICTS; conflicts++) {
      const { text, ttlMs, index } = await propose(current);
      const expiresAt = expiryAfter(ttlMs);
      const value = encode(this.format, sid, text);
      onAttempt(text, value);
      const write = { sid, expected: current, value, ttlMs, index };
      const result = await this.commands.replace(deadline, write, announcement);
      if (result.written) {
        queued.isPublished = true;
        queued.stored = this.#storedAs(value, text, expiresAt);
        return queued.stored;
      }
      if (result.current === null) return undefined;
      if (result.current === current) throw notUtf8Error(this.format, sid);
      current = result.current;
      this.counters.conflicts++;
    }
    throw conflictError(this.format, sid);
  }

  /**
   * Gives a session a new expiry. A later one is not published, unless it is news: another process would otherwise skip a touch
   * that shortens it again.
   * @param known the value that Redis probably holds; only needed with an index
   * @returns when it expires now, by performance.now(); undefined if it does not exist
   */
  async touch(
    deadline: Deadline,
    queued: QueuedOperation,
    session: SessionTouch,
    known: string | undefined,
  ): Promise<number | undefined> {
    const { sid, ttlMs, isNews } = session;
    const expiresAt = performance.now() + ttlMs;
    const { indexBy } = this.options;
    const touch = this.cache.beginTouch(sid, expiresAt);
    const announcement = queued.announce(this.coordinator?.sessions.announce(sid, deadline));
    let change: ExpiryChange | undefined;
    try {
      change =
        indexBy === undefined
          ? await this.commands.touch(deadline, session, announcement)
          : await this.#touchIndexed(deadline, session, known, announcement);
      queued.isPublished = change === "earlier" || (change === "later" && isNews);
      return change === "none" ? undefined : expiresAt;
    } finally {
      this.cache.endTouch(touch, change === "later");
    }
  }

  /**
   * Changes when a session expires, together with the index entry of the session *in Redis*: a request that loaded it before the
   * login touches it, too, and the key must not outlive the entry of the user it belongs to by now.
   *
   * If Redis does not hold the known value, the script changes nothing and returns what it holds, and the touch is tried again for
   * that. If the index value of what Redis holds cannot be determined, the touch fails, so that key and entry end together.
   *
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` after MAX_CONFLICTS, `ERR_SESSION_CORRUPT`; what `indexBy` throws
   */
  async #touchIndexed(
    deadline: Deadline,
    session: SessionTouch,
    knownValue: string | undefined,
    announcement: Announcement | undefined,
  ): Promise<ExpiryChange> {
    const { sid } = session;
    const indexBy = this.options.indexBy as IndexBy;
    let known = knownValue === undefined ? undefined : { value: knownValue, sha1: sha1Of(knownValue) };
    let from: string | undefined;
    for (let conflicts = 0; conflicts <= MAX_CONFLICTS; conflicts++) {
      const to = known && indexValueOf(indexBy, await this.parse(sid, decode(this.format, sid, known.value)));
      const touch = { ...session, index: { to, from }, expectedSha1: known?.sha1 };
      const result = await this.commands.touchUnchanged(deadline, touch, announcement);
      if (typeof result === "string") return result;
      known = result;
      from = to;
    }
    throw conflictError(this.format, sid);
  }

  /** Deletes sessions. @param reason the method that does, for events @returns how many existed */
  delete(deletion: SessionDeletion, reason: "destroy" | "clear"): Promise<number> {
    const { sids } = deletion;
    return this.queue.delete(sids, async (deadline, queued) => {
      // SCAN may find keys whose names are no session ids: no process caches them, and the message would be ignored.
      const content = { type: "SessionDeleted", sids: sids.filter(isSid), reason } as const;
      const announcement = queued.announce(this.coordinator?.announcements.of(content, deadline));
      const deleted = await this.commands.delete(deadline, deletion, announcement);
      queued.isPublished = true;
      if (reason === "clear" || announcement?.isReported()) return deleted;
      for (const sid of sids) this.emit("destroyed", sid, this.coordinator?.nodeId ?? "", reason);
      return deleted;
    });
  }

  /** A session that Redis holds. @throws SessionStoreError `ERR_SESSION_CORRUPT` if the value cannot be decoded */
  stored(sid: string, { value, expiresAt }: StoredValue): StoredSession {
    // Redis has more of it.
    if (isTooLong(value)) throw corruptError(this.format, sid, TOO_LONG);
    return this.#storedAs(value, decode(this.format, sid, value), expiresAt);
  }

  #storedAs(value: string, text: string, expiresAt: number | undefined): StoredSession {
    return new StoredSession(this.format, text, expiresAt, this.#comparesValues ? value : undefined);
  }

  /** The session in a text. Fails as `StoredSession.copy` does. */
  parse(sid: string, text: string): SessionData | Promise<SessionData> {
    const session = new StoredSession(this.format, text, undefined).copy(sid);
    return isPromise(session) ? this.#inTime(sid, session) : session;
  }

  /** A private copy of a session that is cached or has just been read. Fails as `StoredSession.copy` does. */
  copy(sid: string, stored: StoredSession): SessionData | Promise<SessionData> {
    const { bytes } = stored;
    const copy = stored.copy(sid);
    if (stored.bytes !== bytes) this.cache.recount(sid, stored);
    return isPromise(copy) ? this.#inTime(sid, copy) : copy;
  }

  /** A session that an asynchronous serializer is parsing, within the timeout of an operation. */
  #inTime(sid: string, session: Promise<SessionData>): Promise<SessionData> {
    return this.#parsing.run("parse", () => session, { sid });
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
