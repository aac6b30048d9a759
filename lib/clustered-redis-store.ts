import { type Session, type SessionData, Store } from "express-session";
import type { LocalCache, LocalCacheStats } from "./cache/local-cache.ts";
import { type Callback, deliver } from "./callback.ts";
import type { ClusterCoordinator } from "./invalidation/coordinator.ts";
import { type ClusteredRedisStoreOptions, resolveOptions } from "./options/options.ts";
import type { IndexBy } from "./options/types.ts";
import { createCounters } from "./reporting/counters.ts";
import { publishEvent } from "./reporting/diagnostics.ts";
import type {
  ClusterStats,
  IdentifiedSession,
  ListedSession,
  StoreEvents,
  StoreHealth,
} from "./reporting/types.ts";
import { IndexedSessions, type ReindexOptions, type ReindexProgress } from "./sessions/secondary-index.ts";
import { SharedSessions } from "./sessions/session-operations.ts";
import { AllSessions } from "./sessions/session-scan.ts";
import { SessionsInHand } from "./sessions/session-tracker.ts";
import type { StoredSession } from "./sessions/stored-session.ts";
import { checkSid } from "./sessions/validate.ts";

/**
 * A session store for express-session that keeps sessions in Redis and the hot ones in memory, and hears from the other
 * processes what to forget.
 *
 * Methods take a node-style callback and return nothing, or take none and return a promise. Each is answered within
 * `commandTimeoutMs`. Failures are `SessionStoreError`s, wrong arguments TypeErrors. For the events see `StoreEvents`.
 *
 * @example
 * const client = await createClient({ url: process.env.REDIS_URL }).connect();
 * const store = new ClusteredRedisStore({ client });
 * app.use(session({ store, secret, resave: false, saveUninitialized: false }));
 */
export class ClusteredRedisStore extends Store {
  readonly #sessions: SharedSessions;
  readonly #inHand: SessionsInHand;
  readonly #all: AllSessions;
  readonly #indexBy: IndexBy | undefined;
  readonly #counters = createCounters();

  /**
   * Begins to subscribe in the background; the client need not be connected yet.
   * @throws TypeError when an option is wrong, naming it, what it takes and what it got
   */
  constructor(options: ClusteredRedisStoreOptions) {
    super();
    const resolved = resolveOptions(options);
    this.#sessions = new SharedSessions(resolved, this.#counters, {
      invalidated: (sids, from) => {
        for (const sid of sids) this.#emit("invalidate", sid, from);
      },
      destroyed: (sids, by, reason) => {
        for (const sid of sids) this.#emit("destroyed", sid, by, reason);
      },
      expired: (sid) => this.#emit("expired", sid),
      distrust: (reason) => this.#flushed(reason),
      live: () => this.#emit("live"),
      suspect: (reason) => this.#emit("suspect", reason),
      error: (error) => this.#emit("clusterError", error),
    });
    this.#all = new AllSessions(this.#sessions, (error) => this.#emit("clusterError", error));
    this.#indexBy = resolved.indexBy;
    this.#inHand = new SessionsInHand(resolved, this.#sessions, (sid) => {
      this.#counters.resurrections++;
      this.#emit("resurrection", sid);
    });
  }

  /** The sessions in memory; for a look from outside. */
  get localCache(): LocalCache<StoredSession> {
    return this.#sessions.localCache;
  }

  /** What keeps this process in touch with the others; undefined with `cluster: false`. */
  get coordinator(): ClusterCoordinator | undefined {
    return this.#sessions.coordinator;
  }

  /**
   * The session, or null when there is none. It is the caller's own, and its `cookie.expires` is when its key really
   * expires. A hit calls back before `get` returns.
   */
  override get(sid: string): Promise<SessionData | null>;
  override get(sid: string, callback: Callback<SessionData | null>): void;
  override get(sid: string, callback?: Callback<SessionData | null>): Promise<SessionData | null> | void {
    const found = this.#find(sid);
    if (callback === undefined || found instanceof Promise) return deliver(found, callback);
    // Outside of any try and any promise: what it throws is the application's.
    callback(null, found);
  }

  /**
   * Writes a session, and tells the other processes. One that is to live no longer is deleted: see the option `ttl` and
   * `cookie.expires`.
   */
  override set(sid: string, session: SessionData): Promise<void>;
  override set(sid: string, session: SessionData, callback: Callback | undefined): void;
  override set(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    return deliver(this.#inHand.save(sid, session), callback);
  }

  /**
   * Prolongs a session's life to what its cookie says, unless that would add less than `touchAfterMs`. If Redis fails, that
   * is told by the event `clusterError` only: the session still lives as long as it did.
   */
  override touch(sid: string, session: SessionData): Promise<void>;
  override touch(sid: string, session: SessionData, callback: Callback | undefined): void;
  override touch(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    const touching = this.#touch(sid, session);
    if (callback === undefined || touching !== undefined) return deliver(touching, callback);
    callback(null);
  }

  /** Deletes a session, and tells the other processes. */
  override destroy(sid: string): Promise<void>;
  override destroy(sid: string, callback: Callback | undefined): void;
  override destroy(sid: string, callback?: Callback): Promise<void> | void {
    const destroying = this.#inHand.destroy(sid);
    // req.session.destroy() may come without a callback, and nobody sees the promise then: a logout must not fail in silence.
    if (callback === undefined) destroying.catch((error: Error) => this.#emit("clusterError", error));
    return deliver(destroying, callback);
  }

  /** All sessions. They are all in memory then; `sessions()` streams them. */
  override all(): Promise<ListedSession[]>;
  override all(callback: Callback<ListedSession[]>): void;
  override all(callback?: Callback<ListedSession[]>): Promise<ListedSession[]> | void {
    return deliver(this.#all.list(), callback);
  }

  /** The ids of all sessions. */
  ids(): Promise<string[]>;
  ids(callback: Callback<string[]>): void;
  ids(callback?: Callback<string[]>): Promise<string[]> | void {
    return deliver(this.#all.ids(), callback);
  }

  /** How many sessions there are. */
  override length(): Promise<number>;
  override length(callback: Callback<number>): void;
  override length(callback?: Callback<number>): Promise<number> | void {
    const counted = this.#all.ids().then((ids) => ids.length);
    return deliver(counted, callback);
  }

  /** Deletes all sessions, in batches, and tells the other processes. */
  override clear(): Promise<void>;
  override clear(callback: Callback | undefined): void;
  override clear(callback?: Callback): Promise<void> | void {
    const cleared = this.#sessions.clear().then(() => this.#flushed("clear"));
    return deliver(cleared, callback);
  }

  /**
   * The sessions one after the other, never all in memory. One that exists throughout is met at least once, perhaps
   * twice. What cannot be parsed is passed over, with the event `clusterError`.
   */
  sessions(): AsyncGenerator<IdentifiedSession> {
    return this.#all.stream();
  }

  /**
   * Deletes the sessions for which `predicate` holds, in batches, and tells the other processes.
   * @returns how many were deleted
   */
  destroyWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    return this.#all.deleteWhere(predicate);
  }

  /**
   * The sessions that `indexBy` finds by `value`, with their ids, the newest first.
   * @throws TypeError without `indexBy`, or when `value` is no string
   */
  async sessionsOf(value: string): Promise<IdentifiedSession[]> {
    return this.#indexed().of(value);
  }

  /** How many sessions `indexBy` finds by `value`. Fails as `sessionsOf` does. */
  async countOf(value: string): Promise<number> {
    return (await this.#indexed().of(value)).length;
  }

  /**
   * Deletes the sessions that `indexBy` finds by `value`, and tells the other processes: a thousand at a time in one step, or in
   * Cluster each in a step of its own. A request that is still running cannot bring one back. Fails as `sessionsOf` does.
   * @returns how many were deleted
   */
  async destroyAllOf(value: string, { except }: { readonly except?: string } = {}): Promise<number> {
    return this.#indexed().destroyAll(value, except);
  }

  /**
   * Brings sessions into the index that were written before `indexBy` was set on all processes. It can be broken off at any
   * time, begun again, and repeated; sessions can be used meanwhile.
   * @throws TypeError without `indexBy`, or when the cursor is none
   */
  async reindex(options: ReindexOptions = {}): Promise<ReindexProgress> {
    return this.#indexed().reindex(options);
  }

  /** Called by express-session with what `get` returned. Here the store learns which Session objects it handed out. */
  override createSession(...[req, data]: Parameters<Store["createSession"]>): Session & SessionData {
    return this.#inHand.adopt(data, super.createSession(req, data));
  }

  /** Forgets a session in this process only. @returns whether it was in memory */
  evictFromCache(sid: string): boolean {
    return this.#sessions.forget(sid);
  }

  /**
   * Resolves when what the other processes write is heard, and the cache is in use.
   * @throws SessionStoreError `ERR_SUBSCRIPTION` when that is not so within `cluster.subscribeTimeoutMs`; it is tried on
   */
  ready(): Promise<void> {
    return deliver(this.coordinator?.ready(), undefined) as Promise<void>;
  }

  /** How the store is. Never rejects. */
  async health(): Promise<StoreHealth> {
    const redis = await this.#sessions.ping().then(
      () => true,
      () => false,
    );
    return {
      redis,
      subscribed: this.coordinator?.isLive(performance.now()) ?? false,
      leaseAgeMs: this.coordinator?.leaseAgeMs ?? null,
      cacheSize: this.localCache.size,
    };
  }

  /** Whether Redis answers and, unless `cluster` is off, the other processes are heard. Never rejects. */
  async isHealthy(): Promise<boolean> {
    const { redis, subscribed } = await this.health();
    return redis && (subscribed || this.coordinator === undefined);
  }

  /** How the memory of this process is used. Reads while it is not in use count as neither hit nor miss. */
  get cacheStats(): LocalCacheStats {
    return this.localCache.stats;
  }

  /** Sets hits, misses and evictions to 0. */
  resetCacheStats(): void {
    this.localCache.resetStats();
  }

  /** Counters since the start, and the present state. */
  get clusterStats(): ClusterStats {
    return {
      nodeId: this.coordinator?.nodeId ?? "",
      state: this.coordinator?.state ?? "off",
      ...this.#counters,
      leaseAgeMs: this.coordinator?.leaseAgeMs ?? null,
    };
  }

  /**
   * Stops listening, empties the cache, and resolves when all that is under way has been answered: within
   * `commandTimeoutMs`. The client stays open, and the store goes on answering from Redis for requests that still end.
   */
  close(): Promise<void> {
    return this.#sessions.close();
  }

  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** From memory if possible, and then at once. */
  #find(sid: string): SessionData | null | Promise<SessionData | null> {
    try {
      const hit = this.#sessions.hit(sid);
      if (hit === undefined) return this.#read(sid);
      const copy = hit.copy();
      return copy instanceof Promise ? this.#afterParsing(hit, copy) : this.#inHand.note(copy, hit);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #read(sid: string): Promise<SessionData | null> {
    checkSid(sid);
    const stored = await this.#sessions.read(sid);
    return stored === undefined ? null : this.#afterParsing(stored, stored.copy());
  }

  async #afterParsing(
    stored: StoredSession,
    copy: ReturnType<StoredSession["copy"]>,
  ): Promise<SessionData | null> {
    const session = copy instanceof Promise ? await this.#sessions.within("parse", () => copy) : copy;
    return this.#inHand.note(session, stored);
  }

  /** Undefined when there is nothing to do. */
  #touch(sid: string, session: SessionData): Promise<void> | undefined {
    try {
      return this.#inHand.touch(sid, session)?.catch((error: Error) => {
        this.#counters.failedTouches++;
        this.#emit("clusterError", error);
      });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** @throws TypeError without `indexBy` */
  #indexed(): IndexedSessions {
    return new IndexedSessions(this.#sessions, this.#all, this.#indexBy);
  }

  #flushed(reason: string): void {
    this.#counters.flushes++;
    this.#emit("flush", reason);
  }

  /** An observer that throws must harm nobody but the application, as an uncaught exception. */
  #emit<E extends keyof StoreEvents>(event: E, ...args: StoreEvents[E]): void {
    try {
      publishEvent(event, args, this.coordinator?.nodeId ?? "");
      this.emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }
}
