import type { Primary } from "../redis/topology.ts";
import { SessionStoreError } from "../reporting/errors.ts";
import { Lease } from "./lease.ts";
import { Subscription } from "./subscription.ts";

export interface ListeningOptions {
  readonly primary: Primary;
  readonly channels: readonly string[];
  readonly heartbeatChannel: string;
  /** Whether a heartbeat that came back counts only once Redis's answer to it has been judged. */
  readonly mustConfirm: boolean;
  readonly leaseMs: number;
  readonly subscribeTimeoutMs: number;
  readonly handlers: ListeningHandlers;
}

/** None of these may throw. */
export interface ListeningHandlers {
  message(text: string, channel: string): void;
  /** Listening from now on; what was published before has not been heard. */
  opened(): void;
  /** A heartbeat has come back. */
  proven(): void;
  /** Not listening any more, or not yet; it is being tried again. */
  lost(error: SessionStoreError): void;
  /** A heartbeat was not acknowledged. */
  failed(error: SessionStoreError): void;
  /** A heartbeat found other primaries than before. */
  changed(): void;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 2_000;

/**
 * Listening to one primary: the subscription, opened again whenever it is lost, and the lease that its heartbeats keep.
 */
export class Listening {
  readonly primary: Primary;
  readonly #options: ListeningOptions;
  readonly #lease: Lease;
  #subscription: Subscription | undefined;
  #isEnded = false;
  #retries = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  /** The newest heartbeats that came back, and that the primary's answer confirmed. */
  #echoed = 0;
  #confirmed = 0;

  constructor(options: ListeningOptions) {
    this.primary = options.primary;
    this.#options = options;
    this.#lease = new Lease(options.leaseMs);
    void this.#open();
  }

  /** When the newest heartbeat that came back was sent; undefined when nothing is proven. */
  get provenAt(): number | undefined {
    return this.#lease.provenAt;
  }

  /** Nothing is proven any more: only heartbeats sent from now on count. */
  void(): void {
    this.#lease.void();
  }

  /** Sends a heartbeat, unless one is on its way; replaces a subscription that does not bring them back. */
  beat(now: number): void {
    if (this.#subscription === undefined) return;
    if (this.#lease.isMute(now)) {
      this.#lost(new SessionStoreError("ERR_SUBSCRIPTION", "The subscriber's connection is mute"));
      return;
    }
    if (this.#lease.isSending) return;
    const number = this.#lease.sent(now);
    const { primary, heartbeatChannel, handlers } = this.#options;
    primary.sendHeartbeat(heartbeatChannel, String(number)).then(
      (beat) => {
        if (beat !== "proof") this.#lease.failed(number);
        else this.#lease.acknowledged(number, performance.now());
        if (this.#isEnded) return;
        if (beat === "proof") {
          this.#confirmed = number;
          if (this.#options.mustConfirm) this.#prove();
        } else if (beat === "changed") handlers.changed();
      },
      (error: SessionStoreError) => {
        this.#lease.failed(number);
        if (!this.#isEnded) handlers.failed(error);
      },
    );
  }

  /** Stops; the handlers hear nothing more. */
  end(): void {
    this.#isEnded = true;
    clearTimeout(this.#retryTimer);
    this.#subscription?.end();
    this.#subscription = undefined;
    this.#lease.restart();
  }

  async #open(): Promise<void> {
    const { primary, channels, heartbeatChannel, subscribeTimeoutMs, handlers } = this.#options;
    let opened: Subscription | undefined;
    try {
      opened = await Subscription.open({
        connection: await primary.createSubscriber(),
        channels: [...channels, heartbeatChannel],
        accepts: (connection) => primary.isConnectedTo(connection),
        onMessage: (text, from) => {
          if (from !== heartbeatChannel) handlers.message(text, from);
          else this.#onHeartbeat(Number(text));
        },
        onLost: (error) => {
          if (this.#subscription === opened) this.#lost(error);
        },
        timeoutMs: subscribeTimeoutMs,
      });
    } catch (error) {
      if (!this.#isEnded) this.#lost(error as SessionStoreError);
      return;
    }
    if (this.#isEnded) return opened.end();
    this.#subscription = opened;
    this.#lease.restart();
    handlers.opened();
    this.beat(performance.now());
  }

  #lost(error: SessionStoreError): void {
    this.#subscription?.end();
    this.#subscription = undefined;
    this.#lease.restart();
    this.#options.handlers.lost(error);
    if (this.#isEnded) return;
    // Spread out, so that a restarted Redis does not meet all processes at the same moment.
    const wait =
      Math.min(FIRST_RETRY_MS * 2 ** this.#retries++, LONGEST_RETRY_MS) * (0.5 + Math.random() / 2);
    this.#retryTimer = setTimeout(() => void this.#open(), wait).unref();
  }

  #onHeartbeat(number: number): void {
    this.#echoed = number;
    this.#prove();
  }

  #prove(): void {
    const number = this.#options.mustConfirm ? Math.min(this.#echoed, this.#confirmed) : this.#echoed;
    this.#lease.cameBack(number);
    if (this.#lease.provenAt === undefined) return;
    this.#retries = 0;
    this.#options.handlers.proven();
  }
}
