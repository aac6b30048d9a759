import type { SessionData } from "express-session";
import type { CLUSTER_STATS, StatsOf } from "./counters.ts";

/**
 * Whether this process may use its cache:
 * - `off`: not started, closed, or `cluster` is disabled;
 * - `syncing`: subscribing for the first time;
 * - `live`: every message published more than a lease ago has been received;
 * - `suspect`: no longer live, because messages may have been missed.
 */
export type ClusterState = "off" | "syncing" | "live" | "suspect";

/** Counters of a store since its start, and its current state. */
export interface ClusterStats extends StatsOf<typeof CLUSTER_STATS> {
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  /** Whether this process may use its cache; `off` with `cluster: false`. */
  readonly state: ClusterState;
}

/** The result of `health()`. */
export interface StoreHealth {
  /** Whether Redis replies. */
  readonly redis: boolean;
  /** Whether invalidations are received, and the cache is therefore in use. */
  readonly subscribed: boolean;
  /** See `ClusterStats`. */
  readonly outageMs: number | null;
  /** See `ClusterStats`. */
  readonly staleHits: number;
  /** See `ClusterStats`. */
  readonly leaseAgeMs: number | null;
  /** Whether Redis reports all changes of cached sessions; null without `cluster.tracking`. */
  readonly tracking: boolean | null;
  /** Number of cached sessions. */
  readonly cacheSize: number;
}

/** A session and its id. */
export interface IdentifiedSession {
  /** The id, without the prefix. It gives access to the session: show `publicId` instead. */
  readonly sid: string;
  /**
   * Identifies the session without giving access to it, so it is safe to show: the hash of the id (16 hexadecimal digits) that
   * errors and traces also contain.
   */
  readonly publicId: string;
  /** A copy that belongs to the caller. */
  readonly session: SessionData;
  /**
   * When a request last used the session, accurate to `touchAfterMs`: the key's expiry minus the lifetime that a request gives
   * it. Undefined if the session never expires, or its cookie has an `expires` without `maxAge`. With a `ttl` function it is
   * correct only if the function still returns what it returned then. With `disableTouch` it is the time of the last write.
   */
  readonly lastActiveAt: Date | undefined;
  /** When it expires if it is not used again; undefined if it never does. */
  readonly expiresAt: Date | undefined;
}

/** A session that was found by its index value. */
export interface UserSession extends IdentifiedSession {
  /**
   * When it was first written with that index value: usually the login. If it was written before `indexBy` was set, when it was
   * added to the index. By the clock of Redis.
   */
  readonly since: Date;
}

/** A session as `all` lists it. */
export type ListedSession = SessionData & {
  /** The session's id, without the prefix. */
  id: string;
};

/** The events of a store and their arguments. They are for observers: the store does not depend on listeners. */
export interface StoreEvents {
  /**
   * Another process, named by its label, wrote or deleted a session that this process has cached, or had until recently. With
   * `cluster.tracking`, the label is empty for changes that no process published, including touches by this process: the
   * copy is dropped at once, but the event follows with the next heartbeat.
   */
  invalidate: [sid: string, from: string];
  /**
   * A process, named by its label, deleted a session, which may already have been gone. The reason is the method: `destroy`,
   * `destroyWhere`, `destroyOf` or `destroyAllOf`. `clear` emits `flush` instead. Emitted in every process that is `live`.
   */
  destroyed: [sid: string, by: string, reason: string];
  /** Redis removed an expired session; only with `cluster.expiredEvents`. */
  expired: [sid: string];
  /** The cache is now in use. */
  live: [];
  /** Messages may have been missed: until `live`, every read goes to Redis. */
  suspect: [reason: string];
  /** The whole cache was dropped. */
  flush: [reason: string];
  /** Redis did not answer, and a session was served as it was last verified; only with `localCache.staleIfErrorMs`. */
  stale: [sid: string];
  /**
   * A request saved or touched a session that had been destroyed since the request loaded it, or replaced such a session by
   * `regenerate`. The store refuses this, with one exception: without `indexBy`, the session made by `regenerate` is written.
   */
  resurrection: [sid: string];
  /** A failure that may have reached no caller: of the subscription, `cluster.tracking`, a touch, or a destroy without a callback. */
  clusterError: [error: Error];
}

/** Reports an event to whoever listens. Never throws. */
export type EmitEvent = <E extends keyof StoreEvents>(event: E, ...args: StoreEvents[E]) => void;
