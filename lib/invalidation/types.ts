import type { Topology } from "../redis/topology.ts";
import type { SessionStoreError } from "../reporting/errors.ts";
import type { SessionDeleted, SessionInvalidated } from "./messages.ts";

/** What the coordinator asks of, and tells, the store. None of these may throw. */
export interface ClusterHandlers {
  /** Forget these sessions: another process has written or deleted them. */
  forget(sids: readonly string[]): void;
  /** Another process has said so; after `forget`, and once, though each primary of a Cluster brings a copy. */
  told(message: SessionInvalidated | SessionDeleted): void;
  /** A key has expired in Redis; only with `expiredChannel`. */
  expired(key: string): void;
  /** Trust nothing that you hold: sessions were cleared, or messages may have been missed. */
  distrust(reason: string): void;
  /** Everything is heard from now on. */
  live(): void;
  /** Something may have been missed; `distrust` has been called before. */
  suspect(reason: string): void;
  /** Something failed that is being tried again. */
  error(error: SessionStoreError): void;
}

/** What a `ClusterCoordinator` takes; the store makes it of its own options. */
export interface ClusterCoordinatorOptions {
  /** The primaries to subscribe to, and to send heartbeats to on the *data* client: the lease is about that path. */
  readonly topology: Topology;
  /** The channel that all processes listen to. */
  readonly channel: string;
  /** Where Redis tells of keys that expired, if that is to be heard. */
  readonly expiredChannel: string | undefined;
  /** The label that the others are told. */
  readonly nodeId: string;
  /** What stands before the sessions' ids in Redis: messages for another are ignored. */
  readonly prefix: string;
  /** How long an attempt to subscribe, and `ready()`, may take, in milliseconds. */
  readonly subscribeTimeoutMs: number;
  /** How often it is proven that messages are heard, in milliseconds. */
  readonly heartbeatMs: number;
  /** How long one proof lasts, in milliseconds. */
  readonly leaseMs: number;
  /** Who is told. */
  readonly handlers: ClusterHandlers;
}

/** A message on its way out with a write. */
export interface OutgoingMessage {
  /** Where to publish it. */
  readonly channel: string;
  /** What to publish. */
  readonly message: string;
  /** To be told when the write has ended: `true` only if Redis acknowledged that it has published this. */
  readonly ended: (isPublished: boolean) => void;
}

/** Counters of the coordinator; see `ClusterStats`. */
export interface CoordinatorStats {
  /** Messages that went out with a write that Redis acknowledged. */
  readonly messagesPublished: number;
  /** Messages that came over the channel, one's own and nonsense included. */
  readonly messagesReceived: number;
  /** Of those: what could not be understood, or concerned another prefix. */
  readonly messagesIgnored: number;
  /** Of those: what was obeyed. */
  readonly invalidations: number;
}
