import { randomUUID } from "node:crypto";
import { runInBackground } from "../redis/background.ts";
import type { Doubt, Primary } from "../redis/topology.ts";
import { SessionStoreError } from "../reporting/errors.ts";
import type { ClusterState } from "../reporting/types.ts";
import { Announcements } from "./announcements.ts";
import { Backoff } from "./backoff.ts";
import { checkNotifications } from "./expired-events.ts";
import { MessageReceiver } from "./message-receiver.ts";
import { PrimaryListener } from "./primary-listener.ts";
import { SessionChannels } from "./session-channels.ts";
import type { ClusterCoordinatorOptions, CoordinatorHandlers, CoordinatorStats } from "./types.ts";

const MAX_DISCOVERY_DELAY_MS = 500;

/**
 * Receives invalidations, builds outgoing ones, and knows whether any may have been missed.
 *
 * 1. It discovers the primaries: one, or those of a Cluster. It subscribes to each, on a connection of its own. The cache
 *    is not in use yet: `syncing`.
 * 2. Every `heartbeatMs` it sends each a heartbeat with a random payload on the data client, published on a channel of this
 *    process alone. Redis's reply shows that it is a primary, that the subscriber is connected to the same server, and that
 *    replies are in step with commands.
 * 3. When that heartbeat also returns, everything published at that primary before it has been received, since Redis delivers to one
 *    connection in the order of execution. Once one sent after its subscription has returned from each: `live`.
 * 4. Hits are served while, for every primary, the newest returned heartbeat was sent less than `leaseMs` ago.
 * 5. When a lease lapses, a subscription is lost, or a heartbeat finds other primaries, or the data client connects again, the
 *    cache is dropped: `suspect`. Other primaries mean 1 again.
 * 6. A subscription that does not return what Redis acknowledged is silent: it is closed, and another opened. If it was only
 *    late, its next heartbeat restores `live`.
 *
 * Applications do not construct one: a store does, and shows it as its `coordinator`.
 */
export class ClusterCoordinator {
  /** The random id of this store, by which it recognizes its own messages; labels are not unique. */
  readonly instanceId: string = randomUUID();
  /** The label of this process in messages; two processes may have the same. */
  readonly nodeId: string;
  /** The sessions that this process is subscribed to. For the store alone. */
  readonly sessions: SessionChannels;
  /** Builds the messages of this store, and recognizes them. For the store alone. */
  readonly announcements: Announcements;

  readonly #options: ClusterCoordinatorOptions;
  readonly #heartbeatChannel: string;
  readonly #backoff = new Backoff(MAX_DISCOVERY_DELAY_MS);
  /** Set by `start`. */
  #handlers: CoordinatorHandlers | undefined;
  #receiver: MessageReceiver | undefined;
  #state: ClusterState = "off";
  /** Whether there is a listener for every primary. */
  #isComplete = false;
  /** When the oldest of the primaries' newest returned heartbeats was sent; undefined if one is missing. */
  #provenAt: number | undefined;
  /** The last value of `#provenAt`. */
  #verifiedAt = Number.NEGATIVE_INFINITY;
  /** The discovery in progress, if any; an earlier one's outcome no longer counts. */
  #discovery: symbol | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #lastError: SessionStoreError | undefined;
  /** Why Redis does not report changes, as last emitted. */
  #trackingRefusal: string | undefined;
  /** It runs once. */
  #notificationsCheck: Promise<void> | undefined;
  readonly #waiting = new Set<(error?: SessionStoreError) => void>();
  /** By how much the wall clock is ahead of the monotonic one. */
  #wallClockLead = 0;

  /** For the store alone: the arguments may change in any version. */
  constructor(options: ClusterCoordinatorOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.#heartbeatChannel = `${options.channel}:${this.instanceId}`;
    this.announcements = new Announcements(options, this.instanceId);
    this.sessions = new SessionChannels(options, this.announcements);
  }

  /** Whether the cache can be trusted; see `ClusterState`. */
  get state(): ClusterState {
    return this.#state;
  }

  /** The newest failure since the state was last `live`. */
  get lastError(): SessionStoreError | undefined {
    return this.#lastError;
  }

  /** Counters of published and received messages. */
  get stats(): CoordinatorStats {
    const { messagesPublished, messagesReceived, messagesIgnored, invalidations } = this.#options.counters;
    return { messagesPublished, messagesReceived, messagesIgnored, invalidations };
  }

  /** How long ago the newest returned heartbeat was sent, in milliseconds; undefined if there is no proof. */
  get leaseAgeMs(): number | undefined {
    return this.#provenAt === undefined ? undefined : performance.now() - this.#provenAt;
  }

  /** Whether Redis reports all changes; null without `tracking`. */
  get tracking(): boolean | null {
    if (!this.#options.tracking) return null;
    const { listeners } = this.sessions;
    return listeners.length > 0 && listeners.every(({ sessions }) => sessions?.isTracked);
  }

  /** Whether the cache may be read and filled at `now` (performance.now()). Notices a lapsed lease at once. */
  isLive(now: number): boolean {
    if (this.#state !== "live") return false;
    if (this.#isLeased(now)) return true;
    runInBackground(() => this.#suspect(`no heartbeat returned for ${this.#options.leaseMs} ms`));
    return false;
  }

  /** Subscribes in the background. Failures are reported as `clusterError` and retried until `close`. */
  start(handlers: CoordinatorHandlers): void {
    if (this.#state !== "off") return;
    this.#handlers = handlers;
    const { counters, topology, channel } = this.#options;
    const receiver = new MessageReceiver({
      ...handlers,
      counters,
      announcements: this.announcements,
      prefix: topology.fullPrefix,
      sidOf: (channelSuffix) => this.sessions.sidOf(`${channel}:${channelSuffix}`),
      hasCopies: () => this.sessions.listeners.length > 1,
    });
    this.#receiver = receiver;
    this.announcements.onNews = (text) => receiver.onShared(text);
    this.#state = "syncing";
    this.#wallClockLead = Date.now() - performance.now();
    this.#options.topology.doubts.listen((doubt) => this.#onDoubt(doubt));
    this.#heartbeatTimer = setInterval(() => this.#tick(), this.#options.heartbeatMs).unref();
    void this.#discover();
  }

  /**
   * Resolves when the state is `live`.
   * @throws SessionStoreError `ERR_SUBSCRIPTION` if it is not within `subscribeTimeoutMs`, or when closed. The
   * coordinator keeps trying all the same.
   */
  ready(): Promise<void> {
    if (this.isLive(performance.now())) return Promise.resolve();
    if (this.#state === "off") return Promise.reject(notLive("the store is closed", undefined));
    const { subscribeTimeoutMs } = this.#options;
    return new Promise((resolve, reject) => {
      const settle = (error?: SessionStoreError) => {
        clearTimeout(timer);
        this.#waiting.delete(settle);
        if (error === undefined) resolve();
        else reject(error);
      };
      const timer = setTimeout(() => {
        settle(notLive(`no subscription in ${subscribeTimeoutMs} ms`, this.#lastError));
      }, subscribeTimeoutMs);
      this.#waiting.add(settle);
    });
  }

  /** Ends all subscriptions. The state is `off`; it can be started again. */
  close(): void {
    if (this.#state === "off") return;
    this.#state = "off";
    this.#options.topology.doubts.listen(undefined);
    clearInterval(this.#heartbeatTimer);
    this.#backoff.cancel();
    this.#discovery = undefined;
    this.#listenTo([]);
    this.#isComplete = false;
    this.announcements.onNews = undefined;
    this.#receiver?.flush("closed");
    for (const settle of this.#waiting) settle(notLive("the store was closed", undefined));
  }

  /** Discovers the primaries and subscribes to them: as often as it takes, one attempt at a time. */
  async #discover(): Promise<void> {
    this.#isComplete = false;
    if (this.#discovery !== undefined) return;
    const discovery = Symbol();
    this.#discovery = discovery;
    this.#backoff.cancel();
    const found = await this.#options.topology.discover().catch((error: SessionStoreError) => error);
    if (this.#discovery !== discovery) return;
    this.#discovery = undefined;
    if (found instanceof Error) {
      this.#onFailure(found);
      this.#backoff.schedule(() => void this.#discover());
    } else {
      this.#backoff.reset();
      this.#isComplete = true;
      this.#listenTo(found);
    }
  }

  /** Subscribes again, also to a primary that was known before: slots may have moved away from it and back. */
  #listenTo(primaries: readonly Primary[]): void {
    for (const listener of this.sessions.listeners) listener.end();
    this.#receiver?.dropChanges();
    this.sessions.listeners = primaries.map((primary) => this.#listenerOf(primary));
    this.#resetProofs();
  }

  #listenerOf(primary: Primary): PrimaryListener {
    return new PrimaryListener({
      ...this.#options,
      primary,
      heartbeatChannel: this.#heartbeatChannel,
      receiver: this.#receiver as MessageReceiver,
      handlers: {
        onTrackingRefused: (error) => this.#onTrackingRefused(error),
        onProof: () => this.#onProof(),
        onLost: (error) => {
          this.#provenAt = undefined;
          if (this.#state === "live") this.#suspect(error.message);
          this.#onFailure(error);
        },
        onFailure: (error) => this.#onFailure(error),
        onOtherPrimaries: () => this.#onOtherPrimaries(),
        onSlotsMoved: () => this.sessions.dropMoved(),
      },
    });
  }

  /** Reported once for each reason: a connection that is opened again is refused again. */
  #onTrackingRefused(error: SessionStoreError): void {
    if (error.message === this.#trackingRefusal) return;
    this.#trackingRefusal = error.message;
    this.#handlers?.emit("clusterError", error);
  }

  #onOtherPrimaries(): void {
    if (this.#state === "live") this.#suspect("the primaries have changed");
    void this.#discover();
  }

  /** The data connection may lead to another server, or its replies may belong to other commands. */
  #onDoubt(doubt: Doubt): void {
    // Whatever was read may be of another session.
    if (doubt === "replies are out of step") this.#handlers?.cache.invalidateAll();
    if (this.#state === "live") this.#suspect(doubt);
    else this.#resetProofs();
  }

  /** Only heartbeats sent from now on prove anything. */
  #resetProofs(): void {
    const now = performance.now();
    this.#provenAt = undefined;
    for (const listener of this.sessions.listeners) {
      listener.lease.reset();
      listener.sendHeartbeat(now);
    }
  }

  #suspect(reason: string): void {
    this.#state = "suspect";
    this.#handlers?.cache.suspend(this.#verifiedAt);
    this.#options.counters.flushes++;
    this.#handlers?.emit("flush", reason);
    this.#handlers?.emit("suspect", reason);
    this.#resetProofs();
  }

  #onFailure(error: SessionStoreError): void {
    this.#lastError = error;
    this.#handlers?.emit("clusterError", error);
  }

  #tick(): void {
    const now = performance.now();
    // After a virtual machine was frozen, its monotonic clock, and so the lease, continues from where it stopped.
    const wallClockLead = Date.now() - now;
    const frozenMs = wallClockLead - this.#wallClockLead;
    this.#wallClockLead = wallClockLead;
    if (this.#state === "live" && frozenMs >= this.#options.leaseMs) {
      // This clock stood still, so the age of the entries is unknown.
      this.#handlers?.cache.invalidateAll();
      this.#suspect(`the process was suspended for ${Math.round(frozenMs)} ms`);
    }
    this.isLive(now);
    if (this.#isComplete && !this.#options.topology.isUpToDate) this.#onOtherPrimaries();
    for (const listener of this.sessions.listeners) listener.sendHeartbeat(now);
    this.sessions.sweep();
  }

  /** A heartbeat has returned from one of the primaries. */
  #onProof(): void {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { lease } of this.sessions.listeners)
      oldest = Math.min(oldest, lease.provenAt ?? Number.NEGATIVE_INFINITY);
    this.#provenAt = Number.isFinite(oldest) && this.#isComplete ? oldest : undefined;
    if (this.#provenAt !== undefined) this.#verifiedAt = this.#provenAt;
    if (this.#state === "live" || !this.#isLeased(performance.now())) return;
    this.#state = "live";
    this.#lastError = undefined;
    this.#handlers?.emit("live");
    for (const settle of this.#waiting) settle();
    const { expiredEvents, topology, leaseMs } = this.#options;
    if (expiredEvents) this.#notificationsCheck ??= checkNotifications(topology, leaseMs);
  }

  #isLeased(now: number): boolean {
    return this.#provenAt !== undefined && now - this.#provenAt < this.#options.leaseMs;
  }
}

function notLive(why: string, cause: SessionStoreError | undefined): SessionStoreError {
  const message = `The store is not live: ${why}${cause === undefined ? "" : ` (${cause.message})`}`;
  return new SessionStoreError("ERR_SUBSCRIPTION", message, cause);
}
