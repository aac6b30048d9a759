import type { SessionData } from "express-session";

/**
 * Whether what this process has cached can be trusted:
 * - `off`: not started, closed, or `cluster` is disabled;
 * - `syncing`: subscribing for the first time;
 * - `live`: everything that was announced more than a lease ago has been heard;
 * - `suspect`: it was live, and something may have been missed since.
 */
export type ClusterState = "off" | "syncing" | "live" | "suspect";

/** What a store has heard, told and refused since its start. */
export interface ClusterStats {
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  /** Whether what is in memory can be trusted; `off` with `cluster: false`. */
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
  /** Saves and touches that would have brought back a destroyed session, and did not. */
  readonly resurrections: number;
  /** With `onConflict: "merge"`: how often a save found that another had come before it. */
  readonly conflicts: number;
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
  /** The id, without the prefix. */
  readonly sid: string;
  /** A copy of the caller's own. */
  readonly session: SessionData;
}

/** A session as `all` lists it. */
export type ListedSession = SessionData & {
  /** The session's id, without the prefix. */
  id: string;
};

/** The events of a store and their arguments. They are for observers: nothing depends on anybody listening. */
export interface StoreEvents {
  /** Another process, named by its label, wrote or deleted a session. */
  invalidate: [sid: string, from: string];
  /**
   * A session was deleted, or was gone already, by this process or another, named by its label. The reason is the method:
   * `destroy`, `destroyWhere` or `destroyAllOf`; of `clear` tells `flush`. Told on every process that is `live`.
   */
  destroyed: [sid: string, by: string, reason: string];
  /** Redis has removed a session whose time was over; only with `cluster.expiredEvents`. */
  expired: [sid: string];
  /** The cache is in use from now on. */
  live: [];
  /** Something may have been missed: until `live`, every read goes to Redis. */
  suspect: [reason: string];
  /** The cache was emptied. */
  flush: [reason: string];
  /** A request saved or touched a session that had been destroyed since it loaded it: that was left out. */
  resurrection: [sid: string];
  /** Something failed that nobody was told, or perhaps not: the subscription, a touch, a destroy without a callback. */
  clusterError: [error: Error];
}
