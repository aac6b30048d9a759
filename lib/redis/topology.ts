import type { BatchingClient, CommandBatch, RedisSubscriberSource } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import type { Outage } from "./outage.ts";
import type { ClientReadiness } from "./readiness.ts";

/**
 * How sessions are spread over Redis servers, and how commands and messages reach them: one file per kind of client.
 * Nothing outside this folder depends on the kind.
 */
export interface Topology {
  /** What precedes the session id in Redis, the client's own `keyPrefix` included. */
  readonly fullPrefix: string;
  /** What precedes the session id in commands. */
  readonly prefix: string;
  /** Whether one command or script may use keys of several sessions, and a session's key together with its index. */
  readonly combinesKeys: boolean;
  /**
   * Whether a session and its message may be written in a transaction of plain commands; otherwise a script does it. Only
   * where keys may be combined.
   */
  readonly hasTransactions: boolean;
  /** Reports when the data connection may be another one, or its replies may belong to other commands. */
  readonly doubts: Doubts;
  /** Whether Redis is away. */
  readonly outage: Outage;
  /** Whether the client has a connection, and why not. */
  readonly readiness: ClientReadiness;
  /** The number of the database that holds the sessions; known after `discover`. */
  readonly database: number;
  /** A command that only reads, and that every primary answers, whatever it holds. */
  readonly probe: Probe;
  /** Whether the client still knows the same primaries as at the last `discover`. Sends nothing. */
  readonly isUpToDate: boolean;

  /**
   * Sends a batch in one round trip, and reports it to `outage`. Commands are executed by a primary, never by a replica.
   * @returns the replies
   * @throws what the client or Redis throws
   */
  send(deadline: Deadline, batch: Batch): Promise<unknown[]>;
  /** The ids of all primaries, as targets of batches. @throws SessionStoreError */
  primaryIds(deadline: Deadline): Promise<readonly string[]>;
  /** The id of the primary that holds a session, as far as the client knows; undefined if it has no connection. Sends nothing. */
  primaryIdOf(sid: string): string | undefined;
  /**
   * A part for the name of a session's channel, so that the channel is in the slot of the session's key; undefined if there are
   * no slots.
   */
  channelTagOf(sid: string): string | undefined;
  /** Determines the primaries to subscribe to. Later heartbeats are compared with the result. @throws SessionStoreError */
  discover(): Promise<readonly Primary[]>;
  /**
   * Replaces half-open connections: those on which nothing has been answered for `silentMs`, if Redis answers on a new one; and
   * those to a former primary, if a new one leads to the next.
   * @param onReplaced called for each, with what is to be reported. Must not throw.
   * @returns whether any reply is awaited
   */
  checkConnections(silentMs: number, onReplaced: (what: string) => void): boolean;
}

/** Why what heartbeats have proven may not hold any more. */
export type Doubt =
  | "the client has reconnected"
  | "Redis is read-only"
  | "replies are out of step"
  | "the data connection is half-open"
  | "the data connection led to a replica";

/** Reports doubts about the data connections to the one who relies on them. */
export class Doubts {
  #listener: ((doubt: Doubt) => void) | undefined;

  /** @param listener replaces the previous one; undefined for none. Must not throw. */
  listen(listener: ((doubt: Doubt) => void) | undefined): void {
    this.#listener = listener;
  }

  /** @returns whether anybody listens */
  raise(doubt: Doubt): boolean {
    this.#listener?.(doubt);
    return this.#listener !== undefined;
  }
}

/** Commands for one server. */
export interface Batch {
  readonly target: Target;
  /** @default "pipeline" */
  readonly mode?: "pipeline" | "transaction";
  /** Called again for each attempt, for example after a redirection. */
  readonly build: BatchBuilder;
  /**
   * Whether the replies are certainly those to these commands. If not, the connection that they arrived on is closed and
   * opened again, and `send` fails. Default: yes.
   */
  readonly isInStep?: ((replies: readonly unknown[]) => boolean) | undefined;
}

/** A command that shows that Redis answers. It is not PING, which Redis refuses when it cannot write to its disk. */
export interface Probe {
  readonly name: string;
  readonly acl: string;
  readonly build: BatchBuilder;
}

/** The primary that holds a key, one of `Topology.primaryIds`, or any primary. */
export type Target = { readonly key: string } | { readonly primary: string } | "any";

/** Adds commands to a batch. @param isMoving whether they go to a node that is taking over the slot of the key */
export type BatchBuilder = (batch: CommandBatch, isMoving?: boolean) => CommandBatch;

/** A server that accepts writes: the only one, or one of a Cluster. */
export interface Primary {
  /** Identifies the primary; empty if there is only one. */
  readonly id: string;
  /**
   * A new connection for subscribing to this primary, not connected yet.
   * @throws SessionStoreError `ERR_TRACKING` if `isTracked`, and no such connection can be
   */
  createSubscriber(options: SubscriberOptions): Promise<SubscriberConnection>;
  /** Whether a subscriber, once connected, is connected to this very primary. */
  isConnectedTo(subscriber: SubscriberConnection): boolean;
  /** Whether it holds a session, as the last `discover` or heartbeat showed. */
  holds(sid: string): boolean;
  /**
   * How sessions' channels are subscribed to on a subscriber that is connected.
   * @param channel what the names of all channels begin with. Rejects if Redis refuses.
   */
  sessionConnection(subscriber: SubscriberConnection, channel: string): Promise<SessionConnection>;
  /** Whether a subscriber that is subscribed reads the same sessions as the client; undefined if nothing answers. Never rejects. */
  canReadOn(subscriber: SubscriberConnection): Promise<boolean | undefined>;
  /**
   * Publishes on the path that writes take, to this primary alone: neither its replicas nor a server that is no primary
   * deliver the payload. @throws SessionStoreError if Redis does not acknowledge it
   */
  sendHeartbeat(channel: string, payload: string): Promise<HeartbeatResult>;
}

/**
 * What an acknowledged heartbeat shows:
 * - `proof`: the primaries are those of the last `discover`, so its return proves that messages arrive;
 * - `none`: nothing, since this primary lags behind the others;
 * - `changed`: there are other primaries;
 * - `moved`: as `proof`, but slots have moved from one of the primaries to another;
 * - `elsewhere`: nobody is subscribed on this primary, so the subscription is at another server, or lost.
 */
export type HeartbeatResult = "proof" | "none" | "changed" | "moved" | "elsewhere";

/** How a subscriber is created. */
export interface SubscriberOptions {
  /** RESP 3, in which a connection can subscribe and read at the same time, or whatever the client speaks. */
  readonly protocol: "RESP 3" | "the client's";
  /** Whether Redis is asked to report changes of the keys that are read on it; only with RESP 3. */
  readonly isTracked: boolean;
}

export type SubscriberEvent = "error" | "end" | "invalidate" | "sharded-channel-moved";

export type MessageListener = (message: string, channel: string) => void;

/** A client that is used to subscribe, and perhaps to read. It has no listeners yet and is never reconnected. */
export interface SubscriberConnection extends BatchingClient {
  /**
   * - `error`, with the error, and `end`: messages may have been lost;
   * - `invalidate`, with its name, or null for all: a key that was read has changed. Only of a tracked connection;
   * - `sharded-channel-moved`, with its name: the server has ended the subscription to a channel, since its slot has moved.
   */
  on(event: SubscriberEvent, listener: (given?: unknown) => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channels: string | string[], listener: MessageListener): Promise<unknown>;
  unsubscribe(channels: string | string[], listener?: MessageListener): Promise<unknown>;
  sSubscribe(channel: string, listener: MessageListener): Promise<unknown>;
  sUnsubscribe(channel: string, listener?: MessageListener): Promise<unknown>;
  /**
   * What node-redis keeps for each channel, by name: an object with two Sets, which is more than half a kilobyte. Undefined for
   * a client that does not show it.
   */
  getPubSubListeners?(type: "CHANNELS" | "SHARDED"): Map<string, object>;
  /** Closes the connection at once; throws or rejects if it is closed already. */
  destroy(): unknown;
}

/** A subscriber's connection, as it is used for the channels of sessions. */
export interface SessionConnection {
  subscribe(channels: readonly string[], listener: MessageListener): Promise<unknown>;
  /** @param listener undefined if what `listeners` holds for the channels has been removed */
  unsubscribe(channels: readonly string[], listener: MessageListener | undefined): Promise<unknown>;
  /** What node-redis keeps for each channel; see `SubscriberConnection`. */
  listeners(): Map<string, object> | undefined;
  /** Calls back when Redis has ended a subscription. */
  onMoved(listener: (channel: string) => void): void;
  /**
   * Sends a pipeline. Rejects with `OutOfStepError` if replies may be those to other commands; then the commands before it have not
   * been settled for certain, either.
   * @returns the replies; undefined if Redis has refused a command
   */
  read(build: BatchBuilder): Promise<readonly unknown[] | undefined>;
  /**
   * How many channels the connection is subscribed to, as Redis says: undefined if it does not say so. Rejects as `read` does. Not
   * there if Redis never ends a subscription by itself.
   */
  readonly count?: () => Promise<number | undefined>;
}

/** What every topology is created from. */
export interface TopologyOptions {
  /** What precedes the session id, without the client's own `keyPrefix`. */
  readonly prefix: string;
  /** Ignored by a Cluster, whose nodes' own clients are duplicated. */
  readonly subscriber: RedisSubscriberSource;
  /** Timeout of heartbeats, in milliseconds: one that takes longer than the lease proves nothing. */
  readonly leaseMs: number;
}
