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

/** Counters of a store since its start, and its present state. */
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
  /** Whether invalidations are received, so that the cache is in use. */
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
   * Identifies the session without giving access to it, and so is safe to show: the hash of the id that errors and traces
   * contain, too, 16 hexadecimal digits.
   */
  readonly publicId: string;
  /** A copy that belongs to the caller. */
  readonly session: SessionData;
  /**
   * When a request last used it, accurate to `touchAfterMs`: its key's expiry, less the lifetime that a request gives it.
   * Undefined if it never expires, or the cookie has an `expires` without `maxAge`. With a `ttl` function it is right if the
   * function returns now what it returned then. With `disableTouch` it is the last write.
   */
  readonly lastActiveAt: Date | undefined;
  /** When it expires if it is not used again; undefined if it never does. */
  readonly expiresAt: Date | undefined;
}

/** A session that was found by its index value. */
export interface UserSession extends IdentifiedSession {
  /** When it was first written with that index value: usually the login. By the clock of Redis. */
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
   * `cluster.tracking` the label is empty for what no process published: also for a touch of this process.
   */
  invalidate: [sid: string, from: string];
  /**
   * A process, named by its label, deleted a session, which may have been gone already. The reason is the method: `destroy`,
   * `destroyWhere`, `destroyOf` or `destroyAllOf`. `clear` emits `flush` instead. Emitted in every process that is `live`.
   */
  destroyed: [sid: string, by: string, reason: string];
  /** Redis removed an expired session; only with `cluster.expiredEvents`. */
  expired: [sid: string];
  /** The cache is in use from now on. */
  live: [];
  /** Messages may have been missed: until `live`, every read goes to Redis. */
  suspect: [reason: string];
  /** The whole cache was dropped. */
  flush: [reason: string];
  /** Redis did not answer, and a session was served as it was last verified; only with `localCache.staleIfErrorMs`. */
  stale: [sid: string];
  /**
   * A request saved or touched a session that had been destroyed since the request loaded it, or gave its user a new session by
   * `regenerate`. The store refused; only without `indexBy`, the new session of a `regenerate` has been written.
   */
  resurrection: [sid: string];
  /** A failure that no caller received, or perhaps none: of the subscription, `cluster.tracking`, a touch, or a destroy without a callback. */
  clusterError: [error: Error];
}

/** Reports an event to whoever listens. Never throws. */
export type EmitEvent = <E extends keyof StoreEvents>(event: E, ...args: StoreEvents[E]) => void;
