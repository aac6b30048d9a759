import { randomUUID } from "node:crypto";
import type { Primary } from "../redis/topology.ts";
import { SessionStoreError } from "../reporting/errors.ts";
import type { ClusterState } from "../reporting/store-reports.ts";
import { HeardMessages } from "./heard-messages.ts";
import { decodeMessage, encodeMessage, type MessageContent } from "./messages.ts";
import { OwnWrites } from "./own-writes.ts";
import { Listening } from "./primary-listener.ts";
import type { ClusterCoordinatorOptions, CoordinatorStats, OutgoingMessage } from "./types.ts";
import { Waiting } from "./waiting.ts";

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 500;

/**
 * Keeps the processes in touch: hears what others wrote, words what this one writes, and knows at any moment whether
 * anything can have been missed.
 *
 * 1. It is found out which primaries there are: one, or those of a Cluster. To each a subscription is opened, on a
 *    connection of its own. The cache is not used yet: `syncing`.
 * 2. A heartbeat goes out to each on the data client, on a channel that only this process listens to, every `heartbeatMs`.
 * 3. When it comes back, everything published at that primary before it has been heard, since Redis delivers to one
 *    connection in the order in which it carries out. From the first that was sent to each after its subscription: `live`.
 * 4. Hits are served while, of every primary, the newest heartbeat that came back was sent less than `leaseMs` ago.
 * 5. When a lease lapses, a subscription is lost, or a heartbeat finds other primaries: `suspect`, and the store is told to
 *    trust nothing. Other primaries mean 1 again.
 * 6. A subscription that does not bring back what Redis acknowledged is mute: it is ended, and another opened. One that
 *    only was late is live again with its next heartbeat.
 *
 * Heartbeats have a channel to themselves because on the common one each would go to every process: N × N messages.
 */
export class ClusterCoordinator {
  /** A random id of this store, by which it tells its own messages; labels may be given twice. */
  readonly instanceId: string = randomUUID();
  /** The label that the others are told; two processes may have the same. */
  readonly nodeId: string;

  readonly #options: ClusterCoordinatorOptions;
  readonly #heartbeatChannel: string;
  readonly #ownWrites = new OwnWrites();
  #state: ClusterState = "off";
  #listenings: readonly Listening[] = [];
  /** Whether they are those of all primaries. */
  #isComplete = false;
  /** When the oldest of the newest heartbeats that came back was sent; undefined if one primary's is missing. */
  #provenAt: number | undefined;
  #surveying: Promise<void> | undefined;
  #retries = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #heartbeatTimer: NodeJS.Timeout | undefined;
  #lastError: SessionStoreError | undefined;
  readonly #waitingForLive = new Waiting();
  /** Numbers the starts; what an earlier one has left under way counts no more. */
  #generation = 0;
  /** The wall clock's lead over the monotonic one. */
  #wallClock = 0;

  readonly #heard = new HeardMessages();
  #messagesPublished = 0;
  #messagesReceived = 0;
  #messagesIgnored = 0;
  #invalidations = 0;

  constructor(options: ClusterCoordinatorOptions) {
    this.#options = options;
    this.nodeId = options.nodeId;
    this.#heartbeatChannel = `${options.channel}:${this.instanceId}`;
  }

  /** Whether what is cached can be trusted; see `ClusterState`. */
  get state(): ClusterState {
    return this.#state;
  }

  /** What has been told and heard so far. */
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
    return this.#provenAt === undefined ? undefined : performance.now() - this.#provenAt;
  }

  /** Whether the cache may be read and filled at `now` (performance.now()). A lapsed lease is found out here at once. */
  isLive(now: number): boolean {
    if (this.#state !== "live") return false;
    if (this.#isHeld(now)) return true;
    this.#suspect(`no heartbeat came back for ${this.#options.leaseMs} ms`);
    return false;
  }

  /** Begins to listen, in the background: failures are told to the handlers, and tried again until `close`. */
  start(): void {
    if (this.#state !== "off") return;
    this.#state = "syncing";
    this.#generation++;
    this.#wallClock = Date.now() - performance.now();
    this.#heartbeatTimer = setInterval(() => this.#tick(), this.#options.heartbeatMs).unref();
    this.#survey();
  }

  /**
   * Resolves when the state is `live`.
   * @throws SessionStoreError `ERR_SUBSCRIPTION` when it is not within `subscribeTimeoutMs`, or when closed. The
   * coordinator goes on trying all the same.
   */
  ready(): Promise<void> {
    if (this.isLive(performance.now())) return Promise.resolve();
    if (this.#state === "off") return Promise.reject(notLive("the store is closed", undefined));
    const { subscribeTimeoutMs } = this.#options;
    const late = () => notLive(`no subscription in ${subscribeTimeoutMs} ms`, this.#lastError);
    return this.#waitingForLive.wait(subscribeTimeoutMs, late);
  }

  /** Words the message for a write that is about to be sent. */
  announce(content: MessageContent): OutgoingMessage {
    const sequence = this.#ownWrites.begin(Math.max(1, this.#listenings.length));
    const { instanceId, nodeId } = this;
    const { prefix } = this.#options;
    const message = { ...content, instanceId, sequence, nodeId, prefix, sentAt: Date.now() };
    return {
      channel: this.#options.channel,
      message: encodeMessage(message),
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
    this.#listenTo([]);
    this.#surveying = undefined;
    this.#isComplete = false;
    this.#provenAt = undefined;
    this.#options.handlers.distrust("closed");
    this.#waitingForLive.end(notLive("the store was closed", undefined));
  }

  /** Finds out which primaries there are, and listens to them: as often as it takes, one attempt at a time. */
  #survey(): void {
    this.#isComplete = false;
    if (this.#surveying !== undefined) return;
    const generation = this.#generation;
    const isCurrent = () => generation === this.#generation && this.#state !== "off";
    clearTimeout(this.#retryTimer);
    this.#surveying = this.#options.topology.discover().then(
      (primaries) => {
        if (!isCurrent()) return;
        this.#surveying = undefined;
        this.#retries = 0;
        this.#isComplete = true;
        this.#listenTo(primaries);
      },
      (error: SessionStoreError) => {
        if (!isCurrent()) return;
        this.#surveying = undefined;
        this.#failed(error);
        const wait = Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS);
        this.#retryTimer = setTimeout(() => this.#survey(), wait).unref();
      },
    );
  }

  /** Goes on listening to those it listens to already, begins with the others, and ends what is left over. */
  #listenTo(primaries: readonly Primary[]): void {
    const before = new Map(this.#listenings.map((listening) => [listening.primary.id, listening]));
    this.#listenings = primaries.map((primary) => {
      const kept = before.get(primary.id);
      before.delete(primary.id);
      return kept ?? this.#listening(primary);
    });
    for (const listening of before.values()) listening.end();
    this.#doubt();
  }

  #listening(primary: Primary): Listening {
    const { channel, expiredChannel, leaseMs, subscribeTimeoutMs, topology, handlers } = this.#options;
    return new Listening({
      primary,
      channels: expiredChannel === undefined ? [channel] : [channel, expiredChannel],
      heartbeatChannel: this.#heartbeatChannel,
      mustConfirm: topology.needsConfirmation,
      leaseMs,
      subscribeTimeoutMs,
      handlers: {
        message: (text, from) => (from === channel ? this.#onMessage(text) : handlers.expired(text)),
        opened: () => this.#ownWrites.clear(),
        proven: () => this.#proven(),
        lost: (error) => {
          this.#provenAt = undefined;
          if (this.#state === "live") this.#suspect(error.message);
          this.#failed(error);
        },
        failed: (error) => this.#failed(error),
        changed: () => this.#changed(),
      },
    });
  }

  #changed(): void {
    if (this.#state === "live") this.#suspect("there are other primaries now");
    this.#survey();
  }

  /** Nothing is proven any more, until heartbeats sent from now on have come back. */
  #doubt(): void {
    const now = performance.now();
    this.#provenAt = undefined;
    for (const listening of this.#listenings) {
      listening.void();
      listening.beat(now);
    }
  }

  #suspect(reason: string): void {
    this.#state = "suspect";
    this.#options.handlers.distrust(reason);
    this.#options.handlers.suspect(reason);
    this.#doubt();
  }

  #failed(error: SessionStoreError): void {
    this.#lastError = error;
    this.#options.handlers.error(error);
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
    if (this.#isComplete && !this.#options.topology.isUpToDate) this.#changed();
    for (const listening of this.#listenings) listening.beat(now);
  }

  #onMessage(text: string): void {
    this.#messagesReceived++;
    const message = decodeMessage(text);
    if (message === undefined || message.prefix !== this.#options.prefix) {
      this.#messagesIgnored++;
      return;
    }
    if (message.instanceId === this.instanceId && this.#ownWrites.heard(message.sequence)) return;
    // Each primary of a Cluster brings a copy.
    const isCopy = this.#listenings.length > 1 && this.#heard.has(message);
    if (!isCopy) this.#invalidations++;
    if (message.type === "CacheClear") {
      this.#options.handlers.distrust("clear");
      return;
    }
    this.#options.handlers.forget(message.sids);
    if (!isCopy) this.#options.handlers.told(message);
  }

  /** A heartbeat has come back from one of the primaries. */
  #proven(): void {
    let oldest = Number.POSITIVE_INFINITY;
    for (const { provenAt } of this.#listenings)
      oldest = Math.min(oldest, provenAt ?? Number.NEGATIVE_INFINITY);
    this.#provenAt = Number.isFinite(oldest) && this.#isComplete ? oldest : undefined;
    if (this.#state === "live" || !this.#isHeld(performance.now())) return;
    this.#state = "live";
    this.#lastError = undefined;
    this.#options.handlers.live();
    this.#waitingForLive.end();
  }

  #isHeld(now: number): boolean {
    return this.#provenAt !== undefined && now - this.#provenAt < this.#options.leaseMs;
  }
}

function notLive(why: string, cause: SessionStoreError | undefined): SessionStoreError {
  const message = `The store is not live: ${why}${cause === undefined ? "" : ` (${cause.message})`}`;
  return new SessionStoreError("ERR_SUBSCRIPTION", message, cause);
}
