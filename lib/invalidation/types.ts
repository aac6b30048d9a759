import type { Topology } from "../redis/topology.ts";
import type { Counters } from "../reporting/counters.ts";
import type { ClusterStats, EmitEvent } from "../reporting/types.ts";
import type { OpenText } from "./messages.ts";

/** What a store passes to its `ClusterCoordinator`, derived from its own options. */
export interface ClusterCoordinatorOptions {
  /** The primaries to subscribe to. Heartbeats go to them on the *data* client: that path is what the lease verifies. */
  readonly topology: Topology;
  /** The channel that all processes subscribe to; the names of all others begin with it. */
  readonly channel: string;
  /** Whether Redis is to report writes that nobody publishes. */
  readonly tracking: boolean;
  /** Whether to subscribe to the keys that expired. */
  readonly expiredEvents: boolean;
  /** The label of this process in messages. */
  readonly nodeId: string;
  /** Timeout of an attempt to subscribe, and of `ready()`, in milliseconds. */
  readonly subscribeTimeoutMs: number;
  /** Interval of heartbeats, in milliseconds. */
  readonly heartbeatMs: number;
  /** How long a returned heartbeat keeps the cache in use, in milliseconds. */
  readonly leaseMs: number;
  /** How many sessions may be cached. */
  readonly maxSessions: number;
  /** Timeout of an operation, in milliseconds. */
  readonly commandTimeoutMs: number;
  /** Counts messages and invalidations. */
  readonly counters: Counters;
}

/** What a coordinator acts on. None of these may throw. */
export interface CoordinatorHandlers {
  /** The cache that messages invalidate. */
  readonly cache: InvalidatedCache;
  /** Reports an event of the store, after the cache has been invalidated. */
  readonly emit: EmitEvent;
}

/** A cache, as invalidation sees it. */
export interface InvalidatedCache {
  /** Another process has written or deleted the session, or Redis has expired it. */
  invalidate(sid: string): unknown;
  /** All sessions were deleted, or none can be trusted. */
  invalidateAll(): void;
  /** Messages may have been missed. @param verifiedAt up to when none was, by performance.now() */
  suspend(verifiedAt: number): void;
  /** The message of this process's own write has arrived. */
  onOwnMessage(sid: string, sequence: number): void;
  /** Messages about the session do not arrive any more. */
  onUnsubscribed(sid: string): void;
  /** Whether a session is cached, or may be as soon as an operation under way ends. */
  isInUse(sid: string): boolean;
}

/** A message to be published with a write. */
export interface OutgoingMessage extends OutgoingEnvelope {
  /** What to publish. */
  readonly message: string;
  /** See `Announcement`. */
  readonly whileMoving?: Pick<OutgoingMessage, "channel" | "message"> | undefined;
}

/** A message to be published with a deletion, which determines the ids in it. */
export interface OpenOutgoingMessage extends OutgoingEnvelope, OpenText {}

/** Of a message that is published with a write. */
export interface OutgoingEnvelope {
  /** Where to publish it. */
  readonly channel: string;
  /** What the names of all channels begin with. */
  readonly baseChannel: string;
  /** Numbers the writes of this store from 1. */
  readonly sequence: number;
  /** Whether the message has arrived after the timeout of the write, and was reported like that of another process. */
  isReported(): boolean;
  /** To be called when the write has ended. @param isPublished whether Redis confirmed that it published the message */
  settle(isPublished: boolean): void;
}

/** Counters of the coordinator; see `ClusterStats`. */
export type CoordinatorStats = Pick<
  ClusterStats,
  "messagesPublished" | "messagesReceived" | "messagesIgnored" | "invalidations"
>;
