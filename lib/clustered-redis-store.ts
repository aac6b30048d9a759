import { type Session, type SessionData, Store } from "express-session";
import type { LocalCache, LocalCacheStats } from "./cache/local-cache.ts";
import { asCallback, type Callback } from "./callback.ts";
import type { ClusterCoordinator } from "./invalidation/coordinator.ts";
import { type ClusteredRedisStoreOptions, resolveOptions } from "./options/options.ts";
import type { IndexBy } from "./options/types.ts";
import { createCounters } from "./reporting/counters.ts";
import { publishEvent } from "./reporting/diagnostics.ts";
import type {
  ClusterStats,
  EmitEvent,
  IdentifiedSession,
  ListedSession,
  StoreEvents,
  StoreHealth,
} from "./reporting/types.ts";
import { warnNotLive } from "./reporting/warnings.ts";
import { type ReindexOptions, type ReindexProgress, SecondaryIndex } from "./sessions/secondary-index.ts";
import { SessionOperations } from "./sessions/session-operations.ts";
import { SessionScan } from "./sessions/session-scan.ts";
import { SessionTracker } from "./sessions/session-tracker.ts";
import type { StoredSession } from "./sessions/stored-session.ts";

/** Called with the arguments of an event of the store. */
export type StoreListener<E extends keyof StoreEvents> = (...args: StoreEvents[E]) => void;

/**
 * Merged with the class so that the methods of EventEmitter know the events of `StoreEvents` and their arguments: types
 * only, without a method that forwards. `addListener` and the like accept any event.
 */
export interface ClusteredRedisStore {
  /** Adds a listener of an event. */
  on<E extends keyof StoreEvents>(event: E, listener: StoreListener<E>): this;
  /** Adds a listener that is called once. */
  once<E extends keyof StoreEvents>(event: E, listener: StoreListener<E>): this;
  /** Removes a listener. */
  off<E extends keyof StoreEvents>(event: E, listener: StoreListener<E>): this;
  /** Calls the listeners of an event. @returns whether there are any */
  emit<E extends keyof StoreEvents>(event: E, ...args: StoreEvents[E]): boolean;
}

/**
 * A session store for express-session: sessions live in Redis, each process caches the ones in use, and every write
 * invalidates the copies of the other processes.
 *
 * Methods take a Node-style callback and return nothing, or take none and return a promise. Each settles within
 * `commandTimeoutMs`. Failures are `SessionStoreError`s, wrong arguments TypeErrors. For the events see `StoreEvents`.
 *
 * @example
 * const client = await createClient({ url: process.env.REDIS_URL }).connect();
 * const store = new ClusteredRedisStore({ client });
 * app.use(session({ store, secret, resave: false, saveUninitialized: false }));
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface only types methods that are inherited
export class ClusteredRedisStore extends Store {
  readonly #counters = createCounters();
  readonly #operations: SessionOperations;
  readonly #tracker: SessionTracker;
  readonly #scan: SessionScan;
  readonly #indexBy: IndexBy | undefined;
  /** A listener that throws is the application's fault, and must reach it as an uncaught exception. */
  readonly #emit: EmitEvent = (event, ...args) => {
    try {
      publishEvent(event, args, this.coordinator?.nodeId ?? "");
      this.emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  };

  /**
   * Subscribes in the background; the client need not be connected yet.
   * @throws TypeError for an invalid option: it names the option, the expected and the actual value
   */
  constructor(options: ClusteredRedisStoreOptions) {
    super();
    const resolved = resolveOptions(options);
    this.#operations = new SessionOperations(resolved, this.#counters, this.#emit);
    this.#tracker = new SessionTracker(resolved, this.#operations, this.#counters, this.#emit);
    this.#scan = new SessionScan(this.#operations, this.#emit);
    this.#indexBy = resolved.indexBy;
    if (resolved.cluster !== undefined) this.#scheduleWarning(resolved.cluster.subscribeTimeoutMs);
  }

  /** The cached sessions, to look at. */
  get localCache(): LocalCache<StoredSession> {
    return this.#operations.localCache;
  }

  /** Publishes and receives invalidations; undefined with `cluster: false`. */
  get coordinator(): ClusterCoordinator | undefined {
    return this.#operations.coordinator;
  }

  /**
   * A session, or null if there is none. It is the caller's own copy, and its `cookie.expires` is the key's real expiry. A
   * cached session is passed to the callback before `get` returns.
   */
  override get(sid: string): Promise<SessionData | null>;
  override get(sid: string, callback: Callback<SessionData | null>): void;
  override get(sid: string, callback?: Callback<SessionData | null>): Promise<SessionData | null> | void {
    let found: SessionData | null | Promise<SessionData | null>;
    try {
      found = this.#tracker.load(sid);
    } catch (error) {
      found = Promise.reject(error);
    }
    if (callback === undefined || found instanceof Promise) return asCallback(found, callback);
    // Outside of any try and any promise: what the callback throws is the application's.
    callback(null, found);
  }

  /**
   * Writes a session, and invalidates the copies of the other processes. Deletes it if its life is over: see the option
   * `ttl` and `cookie.expires`.
   */
  override set(sid: string, session: SessionData): Promise<void>;
  override set(sid: string, session: SessionData, callback: Callback | undefined): void;
  override set(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    return asCallback(this.#tracker.save(sid, session), callback);
  }

  /**
   * Extends a session's life to what its cookie says, unless that adds less than `touchAfterMs`. A failure of Redis is only
   * reported as `clusterError`: the session lives as long as before.
   */
  override touch(sid: string, session: SessionData): Promise<void>;
  override touch(sid: string, session: SessionData, callback: Callback | undefined): void;
  override touch(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    let touching: Promise<void> | undefined;
    try {
      touching = this.#tracker.touch(sid, session);
    } catch (error) {
      return asCallback(Promise.reject<void>(error), callback);
    }
    if (callback !== undefined && touching === undefined) return callback(null);
    const reported = touching?.catch((error: Error) => {
      this.#counters.failedTouches++;
      this.#emit("clusterError", error);
    });
    return asCallback(reported, callback);
  }

  /** Deletes a session in all processes. */
  override destroy(sid: string): Promise<void>;
  override destroy(sid: string, callback: Callback | undefined): void;
  override destroy(sid: string, callback?: Callback): Promise<void> | void {
    const destroying = this.#tracker.destroy(sid);
    // req.session.destroy() may have no callback, and nobody sees the promise then: a logout must not fail silently.
    if (callback === undefined) destroying.catch((error: Error) => this.#emit("clusterError", error));
    return asCallback(destroying, callback);
  }

  /** All sessions, all in memory at once; `sessions()` streams them. */
  override all(): Promise<ListedSession[]>;
  override all(callback: Callback<ListedSession[]>): void;
  override all(callback?: Callback<ListedSession[]>): Promise<ListedSession[]> | void {
    return asCallback(this.#scan.list(), callback);
  }

  /** The ids of all sessions. */
  ids(): Promise<string[]>;
  ids(callback: Callback<string[]>): void;
  ids(callback?: Callback<string[]>): Promise<string[]> | void {
    return asCallback(this.#scan.ids(), callback);
  }

  /** The number of sessions. */
  override length(): Promise<number>;
  override length(callback: Callback<number>): void;
  override length(callback?: Callback<number>): Promise<number> | void {
    const counted = this.#scan.ids().then((ids) => ids.length);
    return asCallback(counted, callback);
  }

  /** Deletes all sessions in all processes, in batches. */
  override clear(): Promise<void>;
  override clear(callback: Callback | undefined): void;
  override clear(callback?: Callback): Promise<void> | void {
    return asCallback(this.#operations.clear(), callback);
  }

  /**
   * Streams all sessions, never all in memory. One that exists throughout appears at least once, perhaps twice. One that
   * cannot be parsed is skipped, with the event `clusterError`.
   */
  sessions(): AsyncGenerator<IdentifiedSession> {
    return this.#scan.stream();
  }

  /**
   * Deletes the sessions for which `predicate` holds in all processes, in batches. One that changes after the predicate has seen
   * it is passed to the predicate again.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than that, 32 times in a row
   */
  destroyWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    return this.#scan.deleteWhere(predicate);
  }

  /**
   * The sessions whose index value is `value`, with their ids, the newest first. One whose value cannot be determined is skipped,
   * with the event `clusterError`.
   * @throws TypeError without `indexBy`, or when `value` is not a string of 1 to 1,024 characters
   */
  async sessionsOf(value: string): Promise<IdentifiedSession[]> {
    return this.#index().list(value, "sessionsOf");
  }

  /** The number of sessions whose index value is `value`. Fails as `sessionsOf` does. */
  async countOf(value: string): Promise<number> {
    return (await this.#index().list(value, "countOf")).length;
  }

  /**
   * Deletes the sessions that exist now and whose index value is `value` in all processes: a thousand at a time as one unit, in
   * Cluster each by itself. A request that is still running cannot restore one. Fails as `sessionsOf` does.
   * @returns how many were deleted
   * @throws SessionStoreError `ERR_SESSION_CONFLICT` if one changes faster than it can be examined, 32 times in a row; all
   * others are deleted then
   */
  async destroyAllOf(value: string, { except }: { readonly except?: string } = {}): Promise<number> {
    return this.#index().destroyAll(value, except);
  }

  /**
   * Adds sessions to the index that were written before `indexBy` was set in all processes. It can be stopped at any time,
   * resumed, and repeated; sessions can be used meanwhile. One whose index value cannot be determined is skipped, with the
   * event `clusterError`.
   * @throws TypeError without `indexBy`, or for an invalid cursor
   */
  async reindex(options: ReindexOptions = {}): Promise<ReindexProgress> {
    return this.#index().reindex(options);
  }

  /** Called by express-session with what `get` returned: the store recognizes the Session object from then on. */
  override createSession(...[req, data]: Parameters<Store["createSession"]>): Session & SessionData {
    const former = req.session as SessionData | undefined;
    return this.#tracker.adopt(data, super.createSession(req, data), former);
  }

  /**
   * Called by `req.session.regenerate`: deletes the session, and gives the request a new one. If another request has deleted it
   * before, the new one must not restore it: with `indexBy` it is not written while its index value is that of the deleted one,
   * with the event `resurrection`. Without `indexBy` it is written, and the event is emitted then.
   */
  override regenerate(...[req, callback]: Parameters<Store["regenerate"]>): void {
    const { sessionID, session: former } = req;
    let deletion: Promise<boolean> | undefined;
    this.destroy(sessionID, (error) => {
      // express-session adds this method to the store.
      (this as unknown as { generate(request: typeof req): void }).generate(req);
      if (former) this.#tracker.replace(sessionID, former, req.session, deletion);
      callback(error);
    });
    deletion = this.#tracker.deletionOf(sessionID);
  }

  /** Drops a session from the cache of this process only. @returns whether it was cached */
  evictFromCache(sid: string): boolean {
    return this.#operations.cache.invalidate(sid);
  }

  /**
   * Resolves when the store receives invalidations and the cache is in use.
   * @throws SessionStoreError `ERR_SUBSCRIPTION` if that takes longer than `cluster.subscribeTimeoutMs`; the store keeps
   * trying
   */
  ready(): Promise<void> {
    return asCallback(this.coordinator?.ready(), undefined) as Promise<void>;
  }

  /** The state of the store. Never rejects. */
  async health(): Promise<StoreHealth> {
    const probe = this.#operations.call("ping", undefined, (deadline) =>
      this.#operations.commands.probe(deadline),
    );
    const redis = await probe.then(
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

  /** Whether Redis replies and, unless `cluster` is off, invalidations are received. Never rejects. */
  async isHealthy(): Promise<boolean> {
    const { redis, subscribed } = await this.health();
    return redis && (subscribed || this.coordinator === undefined);
  }

  /** Counters of the cache. Reads while it is not in use count as neither hit nor miss. */
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
   * Unsubscribes, empties the cache, and resolves when every operation under way has settled: within `commandTimeoutMs`.
   * The client stays open, and the store still answers from Redis for requests that are ending.
   */
  close(): Promise<void> {
    return this.#operations.close();
  }

  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Without a cache and without a listener for failures, nothing else would show that the store is not as fast as it can be. */
  #scheduleWarning(subscribeTimeoutMs: number): void {
    const warn = () => {
      const { coordinator } = this;
      if (coordinator?.state !== "syncing" || this.listenerCount("clusterError") > 0) return;
      warnNotLive(coordinator.instanceId, subscribeTimeoutMs, coordinator.lastError);
    };
    setTimeout(warn, subscribeTimeoutMs).unref();
  }

  /** @throws TypeError without `indexBy` */
  #index(): SecondaryIndex {
    return new SecondaryIndex(this.#operations, this.#scan, this.#indexBy, this.#emit);
  }
}
