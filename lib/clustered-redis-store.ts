import type { Session, SessionData, Store } from "express-session";
import type { LocalCache, LocalCacheStats } from "./cache/local-cache.ts";
import type { ClusterCoordinator } from "./invalidation/coordinator.ts";
import { ManagedStore } from "./managed-store.ts";
import { type ClusteredRedisStoreOptions, resolveOptions } from "./options/options.ts";
import type { Serializer, SessionTtl } from "./options/types.ts";
import type { RedisStoreClient } from "./redis/client.ts";
import { describeArgument, optionError } from "./reporting/errors.ts";
import type { ClusterStats, ListedSession, StoreEvents, StoreHealth } from "./reporting/types.ts";
import { isPromise, type StoredSession } from "./sessions/stored-session.ts";
import { hasUsableCookie, withNewCookie, withValidCookie } from "./sessions/valid-cookie.ts";
import { createParts } from "./store-parts.ts";

/** A Node-style callback. */
export type Callback<T = void> = (error: unknown, result?: T) => void;

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
 * Methods return a promise, or take a Node-style callback and return nothing. Each operation settles within
 * `commandTimeoutMs`. A failure is a `SessionStoreError`, a wrong argument a `TypeError`. For the events see `StoreEvents`.
 *
 * @example
 * const client = await createClient({ url: process.env.REDIS_URL }).connect();
 * const store = new ClusteredRedisStore({ client });
 * app.use(session({ store, secret, resave: false, saveUninitialized: false }));
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface only types methods that are inherited
export class ClusteredRedisStore extends ManagedStore {
  /**
   * Subscribes in the background; the client need not be connected yet.
   * @throws TypeError for an invalid option: it names the option, the expected and the actual value
   */
  constructor(options: ClusteredRedisStoreOptions) {
    super();
    Object.defineProperty(this, "parts", { value: createParts(this, resolveOptions(options)) });
  }

  /** The option `client`. */
  get client(): RedisStoreClient {
    return this.parts.operations.options.client;
  }

  /** The option `prefix`. */
  get prefix(): string {
    return this.parts.operations.options.prefix;
  }

  /** The option `ttl`. */
  get ttl(): SessionTtl {
    return this.parts.operations.options.ttl;
  }

  /** The option `scanCount`. */
  get scanCount(): number {
    return this.parts.operations.options.scanCount;
  }

  /** The option `disableTouch`. */
  get disableTouch(): boolean {
    return this.parts.operations.options.disableTouch;
  }

  /** The option `disableTTL`. */
  get disableTTL(): boolean {
    return this.parts.operations.options.disableTTL;
  }

  /** The option `serializer`. */
  get serializer(): Serializer {
    return this.parts.operations.options.serializer;
  }

  /** The cached sessions, for inspection. */
  get localCache(): LocalCache<StoredSession> {
    return this.parts.operations.localCache;
  }

  /** Publishes and receives invalidations; undefined with `cluster: false`. */
  get coordinator(): ClusterCoordinator | undefined {
    return this.parts.operations.coordinator;
  }

  /** Returns a session, or null if there is none. It is a private copy, and its `cookie.expires` is the key's real expiry. */
  override get(sid: string): Promise<SessionData | null>;
  override get(sid: string, callback: Callback<SessionData | null> | undefined): void;
  override get(sid: string, callback?: Callback<SessionData | null>): Promise<SessionData | null> | void {
    return asCallback(callback, () => this.parts.tracker.load(sid));
  }

  /**
   * Writes a session, and invalidates the copies of the other processes. Deletes it if its lifetime is over: see the option
   * `ttl` and `cookie.expires`.
   */
  override set(sid: string, session: SessionData): Promise<void>;
  override set(sid: string, session: SessionData, callback: Callback | undefined): void;
  override set(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    return asCallback(callback, () => this.parts.tracker.save(sid, session));
  }

  /**
   * Sets a session's expiry to that of its cookie, unless that extends it by less than `touchAfterMs`. A failure of Redis only
   * emits `clusterError`: the session then keeps its former expiry.
   */
  override touch(sid: string, session: SessionData): Promise<void>;
  override touch(sid: string, session: SessionData, callback: Callback | undefined): void;
  override touch(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    return asCallback(callback, () =>
      this.parts.tracker.touch(sid, session)?.then(
        () => {},
        (error: Error) => {
          this.parts.operations.counters.failedTouches++;
          this.parts.operations.emit("clusterError", error);
        },
      ),
    );
  }

  /** Deletes a session in all processes. */
  override destroy(sid: string): Promise<void>;
  override destroy(sid: string, callback: Callback | undefined): void;
  override destroy(sid: string, callback?: Callback): Promise<void> | void {
    return asCallback(callback, () => {
      const destroying = this.parts.tracker.destroy(sid);
      // req.session.destroy() may have no callback, and nobody sees the promise then: a logout must not fail silently.
      if (!callback) destroying.catch((error: Error) => this.parts.operations.emit("clusterError", error));
      return destroying;
    });
  }

  /**
   * Returns all sessions as one array; `sessions()` streams them instead. One that cannot be parsed is skipped, with the event
   * `clusterError`.
   */
  override all(): Promise<ListedSession[]>;
  override all(callback: Callback<ListedSession[]> | undefined): void;
  override all(callback?: Callback<ListedSession[]>): Promise<ListedSession[]> | void {
    return asCallback(callback, () => this.parts.scan.list());
  }

  /** Returns the ids of all sessions. */
  ids(): Promise<string[]>;
  ids(callback: Callback<string[]> | undefined): void;
  ids(callback?: Callback<string[]>): Promise<string[]> | void {
    return asCallback(callback, () => this.parts.scan.ids());
  }

  /** Returns the number of sessions. */
  override length(): Promise<number>;
  override length(callback: Callback<number> | undefined): void;
  override length(callback?: Callback<number>): Promise<number> | void {
    return asCallback(callback, async () => (await this.parts.scan.ids()).length);
  }

  /** Deletes all sessions in all processes, in batches. */
  override clear(): Promise<void>;
  override clear(callback: Callback | undefined): void;
  override clear(callback?: Callback): Promise<void> | void {
    return asCallback(callback, () => this.parts.scan.clear());
  }

  /**
   * Called by express-session with what `get` returned: the store recognizes the Session object from then on. Data without a
   * valid cookie gets a new one. Never throws, because `load` and `reload` call it where an exception ends the process.
   */
  override createSession(...[req, data]: Parameters<Store["createSession"]>): Session & SessionData {
    const former = req.session as SessionData | undefined;
    let session = super.createSession(req, withValidCookie(data));
    if (!hasUsableCookie(session)) session = super.createSession(req, withNewCookie(data));
    return this.parts.tracker.states.adopt(data, session, former);
  }

  /**
   * Called by `req.session.regenerate`: deletes the session, and gives the request a new one. If another request has already
   * deleted it, the new one must not restore it. With `indexBy`, the new one is refused while it has the index value of the
   * deleted one. Without `indexBy`, it is written. Both cases emit `resurrection`.
   */
  override regenerate(...[req, callback]: Parameters<Store["regenerate"]>): void {
    const { tracker } = this.parts;
    const { sessionID, session: former } = req;
    let deletion: Promise<number> | undefined;
    this.destroy(sessionID, (error) => {
      // express-session adds this method to the store.
      (this as unknown as { generate(request: typeof req): void }).generate(req);
      if (former) tracker.states.replace(sessionID, former, req.session, deletion);
      callback(error);
    });
    deletion = tracker.deletionOf(sessionID);
  }

  /**
   * Drops a session from the cache of this process only.
   * @returns whether it was cached
   * @throws TypeError if `sid` is not a session id: where the middleware has not run, `req.sessionID` is undefined
   */
  evictFromCache(sid: string): boolean {
    return this.parts.tracker.evict(sid);
  }

  /**
   * Resolves when the store receives invalidations and the cache is in use; at once with `cluster: false`.
   * @throws SessionStoreError `ERR_SUBSCRIPTION` if that takes longer than `cluster.subscribeTimeoutMs`; the store keeps
   * trying
   */
  ready(): Promise<void> {
    return asCallback(undefined, () => this.coordinator?.ready()) as Promise<void>;
  }

  /** The state of the store. Never rejects. */
  async health(): Promise<StoreHealth> {
    const { commands, counters, outage, queue } = this.parts.operations;
    const probe = queue.run("ping", undefined, (deadline) => commands.probe(deadline));
    const redis = await probe.then(
      () => true,
      () => false,
    );
    return {
      redis,
      subscribed: this.coordinator?.isLive(performance.now()) ?? false,
      outageMs: outage.durationMs ?? null,
      staleHits: counters.staleHits,
      leaseAgeMs: this.coordinator?.leaseAgeMs ?? null,
      tracking: this.coordinator?.tracking ?? null,
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

  /** Counters since the start, and the current state. */
  get clusterStats(): ClusterStats {
    const { coordinator } = this;
    const tracking = coordinator?.tracking ?? null;
    return {
      nodeId: coordinator?.nodeId ?? "",
      state: coordinator?.state ?? "off",
      ...this.parts.operations.counters,
      outageMs: this.parts.operations.outage.durationMs ?? null,
      subscriptions: coordinator?.sessions.size ?? 0,
      tracking: tracking === null ? null : Number(tracking),
      leaseAgeMs: coordinator?.leaseAgeMs ?? null,
    };
  }

  /**
   * Unsubscribes, drops the cache, and resolves when every pending operation has settled: within `commandTimeoutMs`.
   * The client stays open. Requests that have not ended are still answered, from Redis.
   */
  close(): Promise<void> {
    return this.parts.operations.close();
  }

  /** The same as `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const MAX_DEPTH = 8;

/** How many callbacks are running, each within the one before. */
let depth = 0;

/**
 * Runs `work` and passes its outcome to `callback`, exactly once; or returns a promise of it if there is no callback.
 *
 * An outcome that is there at once is passed on before this returns: a tick later it costs a request 5 % of its time, and the
 * response to a skipped touch leaves in one write. Callbacks within callbacks do so only to a depth of MAX_DEPTH, so that a
 * chain of them over cached sessions does not overflow the stack.
 *
 * What the callback throws is the application's: it reaches the caller or surfaces as an uncaught exception, and neither
 * calls the callback again (as in connect-redis) nor rejects a promise of this package.
 * @param callback none if it is null, undefined or false: express-session passes on whatever `req.session.destroy(…)` was given
 * @throws TypeError if `callback` is neither a function nor none; `work` does not run then
 */
function asCallback<T>(
  callback: Callback<T> | null | false | undefined,
  work: () => T | Promise<T>,
): Promise<T> | undefined {
  const isNone = callback === undefined || callback === null || callback === false;
  if (!isNone && typeof callback !== "function") {
    const expected = "a function, or null, undefined or false for none";
    throw optionError("callback", expected, callback, describeArgument(callback));
  }
  let outcome: T | Promise<T>;
  try {
    outcome = work();
  } catch (error) {
    outcome = Promise.reject(error);
  }
  if (isNone) {
    const promise = Promise.resolve(outcome);
    // express-session calls destroy() and ignores the promise.
    promise.catch(() => {});
    return promise;
  }
  if (isPromise(outcome)) {
    outcome.then(
      (result) => process.nextTick(callback, null, result),
      (error: unknown) => process.nextTick(callback, error),
    );
  } else if (depth === MAX_DEPTH) process.nextTick(callback, null, outcome);
  else {
    depth++;
    try {
      callback(null, outcome);
    } finally {
      depth--;
    }
  }
  return undefined;
}
