import { type Session, type SessionData, Store } from "express-session";
import { type Callback, deliver } from "./callback.ts";
import type { ClusterCoordinator, ClusterState } from "./cluster-coordinator.ts";
import { shown } from "./errors.ts";
import type { LocalCache, LocalCacheStats } from "./local-cache.ts";
import { type ClusteredRedisStoreOptions, type ResolvedOptions, resolveOptions } from "./options.ts";
import { stringify } from "./serializer.ts";
import { lifetimeMs, touchWindowMs } from "./session-lifetime.ts";
import { SharedSessions } from "./shared-sessions.ts";
import type { StoredSession } from "./stored-session.ts";

/** What a store has heard, told and refused since its start. */
export interface ClusterStats {
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  readonly state: ClusterState;
  /** Messages that went out with a write that Redis acknowledged. */
  readonly messagesPublished: number;
  /** Messages that came over the channel, one's own and nonsense included. */
  readonly messagesReceived: number;
  /** Of those: what could not be understood, or concerned another prefix. */
  readonly messagesIgnored: number;
  /** Of those: what was obeyed. */
  readonly invalidations: number;
  /** How often the whole cache was emptied. */
  readonly flushes: number;
  /** Replies that were not cached because they had been overtaken. */
  readonly fencedFills: number;
  /** Touches that Redis did not acknowledge. */
  readonly failedTouches: number;
  /** How long ago the newest heartbeat that came back was sent, in milliseconds; null when nothing is proven. */
  readonly leaseAgeMs: number | null;
}

/** How a store is. */
export interface StoreHealth {
  /** Redis answers. */
  readonly redis: boolean;
  /** What the other processes write is heard: the cache is in use. */
  readonly subscribed: boolean;
  /** See `ClusterStats`. */
  readonly leaseAgeMs: number | null;
  /** Sessions in memory. */
  readonly cacheSize: number;
}

/** A session and its id. */
export interface IdentifiedSession {
  readonly sid: string;
  readonly session: SessionData;
}

/** A session as `all` lists it. */
export type ListedSession = SessionData & { id: string };

/** The events of a store and their arguments. They are for observers: nothing depends on anybody listening. */
export interface StoreEvents {
  /** Another process, named by its label, wrote or deleted a session. */
  invalidate: [sid: string, from: string];
  /** The cache is in use from now on. */
  live: [];
  /** Something may have been missed: until `live`, every read goes to Redis. */
  suspect: [reason: string];
  /** The cache was emptied. */
  flush: [reason: string];
  /** Something failed that perhaps nobody was told: the subscription, a touch, a call without a callback. */
  clusterError: [error: Error];
}

const LONGEST_SID = 1024;
const DELETED_AT_ONCE = 100;

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
  readonly #options: ResolvedOptions;
  readonly #sessions: SharedSessions;
  /** When the key of a session expires that somebody has in hand. */
  readonly #handedOut = new WeakMap<object, number | undefined>();
  #flushes = 0;
  #failedTouches = 0;

  /**
   * Begins to subscribe in the background; the client need not be connected yet.
   * @throws TypeError when an option is wrong, naming it, what it takes and what it got
   */
  constructor(options: ClusteredRedisStoreOptions) {
    super();
    this.#options = resolveOptions(options);
    this.#sessions = new SharedSessions(this.#options, {
      forget: (sids, from) => {
        for (const sid of sids) this.#emit("invalidate", sid, from);
      },
      distrust: (reason) => this.#flushed(reason),
      live: () => this.#emit("live"),
      suspect: (reason) => this.#emit("suspect", reason),
      error: (error) => this.#emit("clusterError", error),
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
    if (callback === undefined || found instanceof Promise) return this.#deliver(found, callback);
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
    return this.#deliver(this.#write(sid, session), callback);
  }

  /**
   * Prolongs a session's life to what its cookie says, unless that would add less than `touchAfterMs`. If Redis fails, that
   * is told by the event `clusterError` only: the session still lives as long as it did.
   */
  override touch(sid: string, session: SessionData): Promise<void>;
  override touch(sid: string, session: SessionData, callback: Callback | undefined): void;
  override touch(sid: string, session: SessionData, callback?: Callback): Promise<void> | void {
    const work = this.#prolong(sid, session);
    if (callback === undefined || work !== undefined) return this.#deliver(work, callback);
    callback(null);
  }

  /** Deletes a session, and tells the other processes. */
  override destroy(sid: string): Promise<void>;
  override destroy(sid: string, callback: Callback | undefined): void;
  override destroy(sid: string, callback?: Callback): Promise<void> | void {
    return this.#deliver(this.#destroy(sid), callback);
  }

  /** All sessions. They are all in memory then; `sessions()` streams them. */
  override all(): Promise<ListedSession[]>;
  override all(callback: Callback<ListedSession[]>): void;
  override all(callback?: Callback<ListedSession[]>): Promise<ListedSession[]> | void {
    return this.#deliver(this.#all(), callback);
  }

  /** The ids of all sessions. */
  ids(): Promise<string[]>;
  ids(callback: Callback<string[]>): void;
  ids(callback?: Callback<string[]>): Promise<string[]> | void {
    return this.#deliver(this.#ids(), callback);
  }

  /** How many sessions there are. */
  override length(): Promise<number>;
  override length(callback: Callback<number>): void;
  override length(callback?: Callback<number>): Promise<number> | void {
    const counted = this.#ids().then((ids) => ids.length);
    return this.#deliver(counted, callback);
  }

  /** Deletes all sessions, in batches, and tells the other processes. */
  override clear(): Promise<void>;
  override clear(callback: Callback | undefined): void;
  override clear(callback?: Callback): Promise<void> | void {
    const cleared = this.#sessions.clear().then(() => this.#flushed("clear"));
    return this.#deliver(cleared, callback);
  }

  /**
   * The sessions one after the other, never all in memory. One that exists throughout is met at least once, perhaps
   * twice. What cannot be parsed is passed over, with the event `clusterError`.
   */
  async *sessions(): AsyncGenerator<IdentifiedSession> {
    for await (const sids of this.#sessions.scan()) {
      for (const { sid, stored } of await this.#sessions.readAll(sids)) {
        try {
          const session = await this.#sessions.within("parse", async () => stored.copy());
          if (session !== null) yield { sid, session };
        } catch (error) {
          this.#emit("clusterError", error as Error);
        }
      }
    }
  }

  /**
   * Deletes the sessions for which `predicate` holds, in batches, and tells the other processes.
   * @returns how many were deleted
   */
  async destroyWhere(
    predicate: (session: SessionData, sid: string) => boolean | Promise<boolean>,
  ): Promise<number> {
    let deleted = 0;
    let batch: string[] = [];
    for await (const { sid, session } of this.sessions()) {
      if (await predicate(session, sid)) batch.push(sid);
      if (batch.length < DELETED_AT_ONCE) continue;
      deleted += await this.#sessions.delete(batch);
      batch = [];
    }
    return batch.length === 0 ? deleted : deleted + (await this.#sessions.delete(batch));
  }

  /** Called by express-session with what `get` returned. Here the store learns which Session objects it handed out. */
  override createSession(...[req, data]: Parameters<Store["createSession"]>): Session & SessionData {
    const isOurs = this.#handedOut.has(data);
    const expiresAt = this.#handedOut.get(data);
    const session = super.createSession(req, data);
    return isOurs ? this.#handOut(session, expiresAt) : session;
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
    return this.#deliver(this.coordinator?.ready(), undefined) as Promise<void>;
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

  get cacheStats(): LocalCacheStats {
    return this.localCache.stats;
  }

  resetCacheStats(): void {
    this.localCache.resetStats();
  }

  get clusterStats(): ClusterStats {
    return {
      nodeId: this.coordinator?.nodeId ?? "",
      state: this.coordinator?.state ?? "off",
      messagesPublished: this.coordinator?.stats.messagesPublished ?? 0,
      messagesReceived: this.coordinator?.stats.messagesReceived ?? 0,
      messagesIgnored: this.coordinator?.stats.messagesIgnored ?? 0,
      invalidations: this.coordinator?.stats.invalidations ?? 0,
      flushes: this.#flushes,
      fencedFills: this.#sessions.fencedFills,
      failedTouches: this.#failedTouches,
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** From memory if possible, and then at once. */
  #find(sid: string): SessionData | null | Promise<SessionData | null> {
    try {
      const hit = this.#sessions.hit(sid);
      if (hit === undefined) return this.#read(sid);
      const copy = hit.copy();
      return copy instanceof Promise ? this.#afterParsing(hit, copy) : this.#handOut(copy, hit.expiresAt);
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
    return this.#handOut(session, stored.expiresAt);
  }

  async #write(sid: string, session: SessionData): Promise<void> {
    checkSid(sid);
    checkSession(session);
    const lifetime = lifetimeMs(session, this.#options.ttl, Date.now());
    if (lifetime <= 0) return this.#destroy(sid);
    const ttlMs = this.#options.disableTTL ? undefined : lifetime;
    // Before the first await: the session is the request's own, and may change as soon as this returns.
    const text = stringify(this.#options.serializer, this.#sessions.keyOf(sid), session);
    const stored = await this.#sessions.write(sid, text, ttlMs);
    this.#handOut(session, stored.expiresAt);
  }

  /** Undefined when there is nothing to do. */
  #prolong(sid: string, session: SessionData): Promise<void> | undefined {
    try {
      checkSid(sid);
      checkSession(session);
      const { disableTouch, disableTTL, ttl, touchAfterMs } = this.#options;
      if (disableTouch || disableTTL) return undefined;
      const now = Date.now();
      const lifetime = lifetimeMs(session, ttl, now);
      if (lifetime <= 0) return this.#destroy(sid);
      const known = this.#sessions.peek(sid)?.expiresAt ?? this.#handedOut.get(session);
      const gained = known === undefined ? undefined : now + lifetime - known;
      const isNegligible =
        gained !== undefined && Math.abs(gained) < (touchAfterMs ?? touchWindowMs(lifetime));
      return isNegligible
        ? undefined
        : this.#expire(sid, session, lifetime, gained !== undefined && gained >= 0);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #expire(sid: string, session: SessionData, ttlMs: number, isLater: boolean): Promise<void> {
    try {
      this.#handOut(session, await this.#sessions.expire(sid, ttlMs, isLater));
    } catch (error) {
      this.#failedTouches++;
      this.#emit("clusterError", error as Error);
    }
  }

  async #destroy(sid: string): Promise<void> {
    checkSid(sid);
    await this.#sessions.delete([sid]);
  }

  async #all(): Promise<ListedSession[]> {
    const found = new Map<string, ListedSession>();
    for await (const { sid, session } of this.sessions()) found.set(sid, Object.assign(session, { id: sid }));
    return [...found.values()];
  }

  async #ids(): Promise<string[]> {
    const found = new Set<string>();
    for await (const sids of this.#sessions.scan()) for (const sid of sids) found.add(sid);
    return [...found];
  }

  #handOut<T extends SessionData | null>(session: T, expiresAt: number | undefined): T {
    if (session !== null && typeof session === "object") this.#handedOut.set(session, expiresAt);
    return session;
  }

  /** Gives an outcome to the callback. Without one it is returned; if nobody looks at it, a failure is still told. */
  #deliver<T>(work: T | Promise<T>, callback: Callback<T> | undefined): Promise<T> | undefined {
    const promise = Promise.resolve(work);
    if (callback === undefined) promise.catch((error: Error) => this.#emit("clusterError", error));
    return deliver(promise, callback);
  }

  #flushed(reason: string): void {
    this.#flushes++;
    this.#emit("flush", reason);
  }

  /** An observer that throws must harm nobody but the application, as an uncaught exception. */
  #emit<E extends keyof StoreEvents>(event: E, ...args: StoreEvents[E]): void {
    try {
      this.emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  }
}

function checkSid(sid: unknown): asserts sid is string {
  if (typeof sid === "string" && sid !== "" && sid.length <= LONGEST_SID) return;
  throw new TypeError(`sid: expected a string of 1 to ${LONGEST_SID} characters, got ${shown(sid)}`);
}

function checkSession(session: unknown): void {
  if (session !== null && typeof session === "object") return;
  throw new TypeError(`session: expected an object, got ${shown(session)}`);
}
