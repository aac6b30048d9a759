import { randomUUID } from "node:crypto";
import { type ClusterMessage, decodeMessage, encodeMessage } from "./cluster-message.ts";
import { SessionStoreError } from "./errors.ts";
import { Lease } from "./lease.ts";
import { OwnWrites } from "./own-writes.ts";
import type { RedisSubscriberClient } from "./redis-client.ts";
import { Subscription } from "./subscription.ts";

/**
 * Whether what this process has cached can be trusted:
 * - `off`: not started, closed, or `cluster` is disabled;
 * - `syncing`: subscribing for the first time;
 * - `live`: everything that was announced more than a lease ago has been heard;
 * - `suspect`: it was live, and something may have been missed since.
 */
export type ClusterState = "off" | "syncing" | "live" | "suspect";

/** What the coordinator asks of, and tells, the store. None of these may throw. */
export interface ClusterHandlers {
  /** Forget these sessions: another process, named by its label, has written or deleted them. */
  forget(sids: readonly string[], from: string): void;
  /** Trust nothing that you hold: sessions were cleared, or messages may have been missed. */
  distrust(reason: string): void;
  live(): void;
  suspect(reason: string): void;
  /** Something failed that is being tried again. */
  error(error: SessionStoreError): void;
}

export interface ClusterCoordinatorOptions {
  /** The client that is duplicated to subscribe with. */
  readonly subscriber: RedisSubscriberClient;
  /** Publishes on the *data* client: that path is what the lease is about. Rejects when it was not acknowledged. */
  readonly publish: (channel: string, message: string) => Promise<void>;
  readonly channel: string;
  readonly nodeId: string;
  readonly prefix: string;
  readonly subscribeTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly handlers: ClusterHandlers;
}

/** A message on its way out with a write. */
export interface OutgoingMessage {
  readonly channel: string;
  readonly message: string;
  /** To be told when the write has ended: `true` only if Redis acknowledged that it has published this. */
  readonly ended: (isPublished: boolean) => void;
}

/** Counters of the coordinator; see `ClusterStats`. */
export interface CoordinatorStats {
  readonly messagesPublished: number;
  readonly messagesReceived: number;
  readonly messagesIgnored: number;
  readonly invalidations: number;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2_000;

/**
 * Keeps the processes in touch: hears what others wrote, words what this one writes, and knows at any moment whether
 * anything can have been missed.
 *
 * 1. A subscription is opened on a connection of its own. The cache is not used yet: `syncing`.
 * 2. A heartbeat goes out on the data client, on a channel that only this process listens to, every `heartbeatMs`.
 * 3. When it comes back, everything published before it has been heard, since Redis delivers to one connection in the order in which
 *    it carries out. From the first heartbeat sent after the subscription: `live`.
 * 4. Hits are served while the newest heartbeat that came back was sent less than `leaseMs` ago.
 * 5. When the lease lapses or the subscription is lost: `suspect`, and the store is told to trust nothing.
 * 6. A subscription that does not bring back what Redis acknowledged is mute: it is ended, and another opened. One that
 *    only was late is live again with its next heartbeat.
 *
 * Heartbeats have a channel to themselves because on the common one each would go to every process: N × N messages.
 */
export class ClusterCoordinator {
  /** A random id of this store, by which it tells its own messages; labels may be given twice. */
  readonly instanceId: string = randomUUID();
  readonly nodeId: string;

  readonly #options: ClusterCoordinatorOptions;
  readonly #heartbeatChannel: string;
  readonly #lease: Lease;
  readonly #ownWrites = new OwnWrites();
  #state: ClusterState = "off";
  #subscription: Subscription | undefined;
  #retries = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #lastError: SessionStoreError | undefined;
  readonly #waitingForLive = new Set<{ resolve: () => void; reject: (error: SessionStoreError) => void }>();
  /** Numbers the attempts to subscribe; only the latest counts. */
  #generation = 0;
  /** The wall clock's lead over the monotonic one. */
  #wallClock = 0;

  #messagesPublished = 0;
  #messagesReceived = 0;
  #messagesIgnored = 0;
  #invalidations = 0;

  constructor(options: ClusterCoordinatorOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.#heartbeatChannel = `${options.channel}:${this.instanceId}`;
    this.#lease = new Lease(options.leaseMs);
  }

  get state(): ClusterState {
    return this.#state;
  }

  get stats(): CoordinatorStats {
    return {
      messagesPublished: this.#messagesPublished,
      messagesReceived: this.#messagesReceived,
      messagesIgnored: this.#messagesIgnored,
      invalidations: this.#invalidations,
    };
  }

  /** How long ago the newest heartbeat that came back was sent, in milliseconds; undefined when nothing is proven. */
  get leaseAgeMs(): number | undefined {
    return this.#lease.ageMs(performance.now());
  }

  /** Whether the cache may be read and filled at `now` (performance.now()). A lapsed lease is found out here at once. */
  isLive(now: number): boolean {
    if (this.#state !== "live") return false;
    if (this.#lease.isHeld(now)) return true;
    this.#suspect(`no heartbeat came back for ${this.#options.leaseMs} ms`);
    return false;
  }

  /** Begins to listen, in the background: failures are told to the handlers, and tried again until `close`. */
  start(): void {
    if (this.#state !== "off") return;
    this.#state = "syncing";
    this.#wallClock = Date.now() - performance.now();
    this.#heartbeatTimer = setInterval(() => this.#tick(), this.#options.heartbeatMs).unref();
    void this.#open();
  }

  /**
   * Resolves when the state is `live`.
   * @throws SessionStoreError `ERR_SUBSCRIPTION` when it is not within `subscribeTimeoutMs`, or when closed. The
   * coordinator goes on trying all the same.
   */
  ready(): Promise<void> {
    if (this.isLive(performance.now())) return Promise.resolve();
    if (this.#state === "off") return Promise.reject(notLive("the store is closed", undefined));
    return new Promise((resolve, reject) => {
      const { subscribeTimeoutMs } = this.#options;
      const waiting = { resolve, reject };
      const timer = setTimeout(() => {
        this.#waitingForLive.delete(waiting);
        reject(notLive(`no subscription in ${subscribeTimeoutMs} ms`, this.#lastError));
      }, subscribeTimeoutMs);
      waiting.resolve = () => {
        clearTimeout(timer);
        resolve();
      };
      waiting.reject = (error) => {
        clearTimeout(timer);
        reject(error);
      };
      this.#waitingForLive.add(waiting);
    });
  }

  /** Words the message for a write that is about to be sent. */
  announce(type: "SessionInvalidated" | "SessionDeleted", sids: readonly string[]): OutgoingMessage;
  announce(type: "CacheClear"): OutgoingMessage;
  announce(type: ClusterMessage["type"], sids: readonly string[] = []): OutgoingMessage {
    const sequence = this.#ownWrites.begin();
    const { instanceId, nodeId } = this;
    const base = { instanceId, sequence, nodeId, prefix: this.#options.prefix, sentAt: Date.now() };
    return {
      channel: this.#options.channel,
      message: encodeMessage(type === "CacheClear" ? { type, ...base } : { type, ...base, sids }),
      ended: (isPublished) => {
        if (isPublished) this.#messagesPublished++;
        this.#ownWrites.end(sequence, isPublished);
      },
    };
  }

  /** Stops listening. The state is `off`; it can be started again. */
  close(): void {
    if (this.#state === "off") return;
    this.#state = "off";
    clearInterval(this.#heartbeatTimer);
    clearTimeout(this.#retryTimer);
    this.#subscription?.end();
    this.#subscription = undefined;
    this.#lease.restart();
    this.#options.handlers.distrust("closed");
    for (const { reject } of this.#waitingForLive) reject(notLive("the store was closed", undefined));
    this.#waitingForLive.clear();
  }

  async #open(): Promise<void> {
    const generation = ++this.#generation;
    const isCurrent = () => generation === this.#generation && this.#state !== "off";
    try {
      const subscription = await Subscription.open({
        client: this.#options.subscriber,
        channels: [this.#options.channel, this.#heartbeatChannel],
        onMessage: (message, channel) => this.#onMessage(message, channel),
        onLost: (error) => {
          if (isCurrent()) this.#lost(error);
        },
        timeoutMs: this.#options.subscribeTimeoutMs,
      });
      if (!isCurrent()) return subscription.end();
      this.#subscription = subscription;
      this.#lease.restart();
      this.#ownWrites.clear();
      this.#beat();
    } catch (error) {
      if (isCurrent()) this.#lost(error as SessionStoreError);
    }
  }

  /** The subscription is gone, or could not be had: nothing is heard until there is another. */
  #lost(error: SessionStoreError): void {
    this.#subscription?.end();
    this.#subscription = undefined;
    this.#lastError = error;
    if (this.#state === "live") this.#suspect(error.message);
    this.#options.handlers.error(error);
    // Spread out, so that a restarted Redis does not meet all processes at the same moment.
    const wait =
      Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS) * (0.5 + Math.random() / 2);
    this.#retryTimer = setTimeout(() => void this.#open(), wait).unref();
  }

  #suspect(reason: string): void {
    this.#state = "suspect";
    this.#lease.void();
    this.#options.handlers.distrust(reason);
    this.#options.handlers.suspect(reason);
    this.#beat();
  }

  #tick(): void {
    const now = performance.now();
    // A virtual machine that was frozen goes on with a monotonic clock that stood still, and so with a lease that did.
    const wallClock = Date.now() - now;
    const frozenMs = wallClock - this.#wallClock;
    this.#wallClock = wallClock;
    if (this.#state === "live" && frozenMs >= this.#options.leaseMs) {
      this.#suspect(`the process stood still for ${Math.round(frozenMs)} ms`);
    }
    this.isLive(now);
    if (this.#subscription !== undefined && this.#lease.isMute(now)) {
      this.#lost(new SessionStoreError("ERR_SUBSCRIPTION", "The subscriber's connection is mute"));
    }
    this.#beat();
  }

  #beat(): void {
    if (this.#subscription === undefined || this.#lease.isSending) return;
    const number = this.#lease.sent(performance.now());
    this.#options.publish(this.#heartbeatChannel, String(number)).then(
      () => this.#lease.acknowledged(number, performance.now()),
      (error: SessionStoreError) => {
        this.#lease.failed(number);
        if (this.#state === "off") return;
        this.#lastError = error;
        this.#options.handlers.error(error);
      },
    );
  }

  #onMessage(text: string, channel: string): void {
    if (channel === this.#heartbeatChannel) {
      this.#onHeartbeat(Number(text));
      return;
    }
    this.#messagesReceived++;
    const message = decodeMessage(text);
    if (message === undefined || message.prefix !== this.#options.prefix) {
      this.#messagesIgnored++;
      return;
    }
    if (message.instanceId === this.instanceId && this.#ownWrites.heard(message.sequence)) return;
    this.#invalidations++;
    if (message.type === "CacheClear") this.#options.handlers.distrust("clear");
    else this.#options.handlers.forget(message.sids, message.nodeId);
  }

  #onHeartbeat(number: number): void {
    this.#lease.cameBack(number);
    if (this.#state === "live" || !this.#lease.isHeld(performance.now())) return;
    this.#state = "live";
    this.#retries = 0;
    this.#lastError = undefined;
    this.#options.handlers.live();
    for (const { resolve } of this.#waitingForLive) resolve();
    this.#waitingForLive.clear();
  }
}

function notLive(why: string, cause: SessionStoreError | undefined): SessionStoreError {
  const message = `The store is not live: ${why}${cause === undefined ? "" : ` (${cause.message})`}`;
  return new SessionStoreError("ERR_SUBSCRIPTION", message, cause);
}
