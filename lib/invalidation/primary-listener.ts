import { randomBytes } from "node:crypto";
import { Deadlines } from "../redis/deadlines.ts";
import type { Primary, SubscriberConnection, SubscriberOptions } from "../redis/topology.ts";
import { proveTracking, trackingError, trackingRefusal } from "../redis/tracking.ts";
import { aclHint, errorMessage, SessionStoreError } from "../reporting/errors.ts";
import { Backoff } from "./backoff.ts";
import { Lease } from "./lease.ts";
import type { MessageReceiver } from "./message-receiver.ts";
import { SessionSubscriptions } from "./session-subscriptions.ts";
import { Subscription, subscriptionError } from "./subscription.ts";
import type { ClusterCoordinatorOptions } from "./types.ts";

export interface PrimaryListenerOptions extends ClusterCoordinatorOptions {
  readonly primary: Primary;
  readonly heartbeatChannel: string;
  /** Gets what arrives. */
  readonly receiver: MessageReceiver;
  readonly handlers: PrimaryListenerHandlers;
}

/** None of these may throw. */
export interface PrimaryListenerHandlers {
  /** Redis, or the client, cannot report changes; the subscription works without. */
  onTrackingRefused(error: SessionStoreError): void;
  /** A heartbeat has returned. */
  onProof(): void;
  /** The subscription is lost, or could not be opened; another is being opened. */
  onLost(error: SessionStoreError): void;
  /** Redis did not acknowledge a heartbeat. */
  onFailure(error: SessionStoreError): void;
  /** A heartbeat found other primaries than before. */
  onOtherPrimaries(): void;
  /** A heartbeat found that slots have moved from one primary to another. */
  onSlotsMoved(): void;
}

const MAX_RETRY_DELAY_MS = 2_000;

/** How long an operation waits for a subscriber's connection, at most. */
const MAX_WAIT_MS = 1_000;

/** For sessions that have left the cache, and whose subscriptions have not ended yet. */
const SPARE_SUBSCRIPTIONS = 1_000;

/** Of the random payload of a heartbeat: nobody who may publish can guess one that is in flight. */
const SECRET_BYTES = 16;

/** The subscription to one primary, replaced whenever it is lost, and the lease that its heartbeats keep. */
export class PrimaryListener {
  readonly primary: Primary;
  readonly lease: Lease;
  /** Those of the open subscription; undefined while there is none. Set here alone. */
  sessions: SessionSubscriptions | undefined;
  readonly #options: PrimaryListenerOptions;
  readonly #backoff = new Backoff(MAX_RETRY_DELAY_MS);
  #subscription: Subscription | undefined;
  /** How the next connection is opened. The one after it tries RESP 3 and tracking again, which may have been denied. */
  #protocol: SubscriberOptions["protocol"] = "RESP 3";
  #isTrackingRefused = false;
  #hasEnded = false;

  constructor(options: PrimaryListenerOptions) {
    this.primary = options.primary;
    this.#options = options;
    this.lease = new Lease(options.leaseMs);
    void this.#open();
  }

  /** Sends a heartbeat, unless one is on its way; replaces a subscription that does not return them. */
  sendHeartbeat(now: number): void {
    if (this.#subscription === undefined) return;
    if (this.lease.isSilent(now)) {
      this.#onLost(subscriptionError("The subscriber's connection is silent"));
      return;
    }
    if (this.lease.isSending) return;
    const payload = randomBytes(SECRET_BYTES).toString("base64url");
    this.lease.send(payload, now);
    const sentFor = this.#subscription;
    const { primary, heartbeatChannel, handlers } = this.#options;
    primary.sendHeartbeat(heartbeatChannel, payload).then(
      (result) => {
        const isProof = result === "proof" || result === "moved";
        if (!isProof) this.lease.drop(payload);
        if (this.#hasEnded) return;
        if (result === "changed") handlers.onOtherPrimaries();
        if (result === "moved") handlers.onSlotsMoved();
        if (result === "elsewhere" && this.#subscription === sentFor)
          this.#onLost(subscriptionError("The subscription and the data connection reach different servers"));
        if (isProof && this.lease.acknowledge(payload, performance.now())) this.#onProof();
      },
      (error: SessionStoreError) => {
        this.lease.drop(payload);
        if (!this.#hasEnded) handlers.onFailure(error);
      },
    );
    void this.sessions?.compareWithCount();
  }

  /** Closes the subscription. No handler is called any more. */
  end(): void {
    this.#hasEnded = true;
    this.#backoff.cancel();
    this.#close();
  }

  async #open(): Promise<void> {
    const { primary, channel, expiredEvents, topology, heartbeatChannel, receiver, handlers } = this.#options;
    let opened: Subscription;
    const isTracked = this.#options.tracking && this.#protocol === "RESP 3" && !this.#isTrackingRefused;
    try {
      const connection = await primary.createSubscriber({ protocol: this.#protocol, isTracked });
      if (isTracked)
        connection.on("invalidate", (key) =>
          receiver.onChange(key === null ? null : String(key), primary.id),
        );
      opened = await Subscription.open({
        connection,
        channels: [channel, heartbeatChannel],
        expiredChannel: expiredEvents ? `__keyevent@${topology.database}__:expired` : undefined,
        prove: async () => {
          if (!primary.isConnectedTo(connection))
            throw subscriptionError("The subscriber and the client follow different primaries");
          if (isTracked) await this.#proveTracking(connection);
          return this.#sessionsOn(connection, isTracked);
        },
        onMessage: (text, from) => {
          if (from === heartbeatChannel) this.#onEcho(text);
          else if (from === channel) receiver.onMessage(text);
          else receiver.onExpired(text);
        },
        onLost: (error) => this.#onLost(error),
        timeoutMs: this.#options.subscribeTimeoutMs,
      });
    } catch (error) {
      if (this.#hasEnded) return;
      const refusal = isTracked ? trackingRefusal(error as SessionStoreError) : undefined;
      if (refusal !== undefined) {
        this.#isTrackingRefused = true;
        handlers.onTrackingRefused(refusal);
        void this.#open();
        return;
      }
      if (lacksResp3(error)) this.#protocol = "the client's";
      // There may not even be a client to subscribe with.
      this.#onLost(error instanceof SessionStoreError ? error : subscriptionError("Cannot subscribe", error));
      return;
    }
    if (this.#hasEnded) return opened.end();
    this.#protocol = "RESP 3";
    this.#isTrackingRefused = false;
    this.#subscription = opened;
    this.sessions = opened.sessions;
    void this.sessions?.examine();
    this.sendHeartbeat(performance.now());
  }

  /** A connection that is not proved stays closed: without tracking, another is opened. */
  async #proveTracking(connection: SubscriberConnection): Promise<void> {
    const { primary, topology, leaseMs } = this.#options;
    await new Deadlines(leaseMs).run("CLIENT TRACKING", (deadline) =>
      proveTracking(connection, primary.id, topology, deadline),
    );
    const canRead = await primary.canReadOn(connection);
    if (canRead) return;
    if (canRead === undefined) throw new Error("The subscriber's connection does not answer");
    throw trackingError(
      "the subscriber's connection does not read what the client reads, or +client|info is denied",
    );
  }

  /** @throws SessionStoreError if Redis refuses */
  async #sessionsOn(subscriber: SubscriberConnection, isTracked: boolean): Promise<SessionSubscriptions> {
    const { primary, channel, maxSessions, commandTimeoutMs, receiver } = this.#options;
    const connection = await primary.sessionConnection(subscriber, channel).catch((error: unknown) => {
      throw this.#refusal(error);
    });
    return new SessionSubscriptions({
      connection,
      isTracked,
      askWhetherToRead: async () => isTracked || primary.canReadOn(subscriber),
      maxSessions: 2 * maxSessions + SPARE_SUBSCRIPTIONS,
      maxWaitMs: Math.min(MAX_WAIT_MS, commandTimeoutMs / 4),
      receiver,
      // Without one of the two, the subscriptions would not be what they are taken for.
      onFailure: (error) => this.#onLost(this.#refusal(error)),
    });
  }

  /** Redis refused to subscribe to sessions, or to end that. */
  #refusal(error: unknown): SessionStoreError {
    const { channel, topology } = this.#options;
    const ofShards = topology.channelTagOf("") === undefined ? "" : " +ssubscribe +sunsubscribe +ping";
    const hint = aclHint(errorMessage(error), () => `+subscribe +unsubscribe${ofShards} &${channel}*`);
    return subscriptionError("Cannot subscribe to sessions", error, hint);
  }

  #close(): void {
    this.#subscription?.end();
    this.#subscription = undefined;
    this.sessions = undefined;
    this.lease.restart();
  }

  #onLost(error: SessionStoreError): void {
    this.#close();
    this.#options.handlers.onLost(error);
    if (!this.#hasEnded) this.#backoff.schedule(() => void this.#open());
  }

  #onEcho(payload: string): void {
    if (!this.lease.awaits(payload)) return;
    const { receiver, primary } = this.#options;
    // Not with the reply, which may come later: behind the echo, a change may have been reported whose message has not arrived.
    receiver.settleChanges(primary.id);
    if (this.lease.onEcho(payload)) this.#onProof();
  }

  #onProof(): void {
    this.#backoff.reset();
    // The client may not have answered before.
    void this.sessions?.examine();
    this.#options.handlers.onProof();
  }
}

/** Whether the server does not know RESP 3. */
function lacksResp3(error: unknown): boolean {
  return /HELLO|NOPROTO/i.test(errorMessage(error));
}
