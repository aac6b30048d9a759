import type { SubscriberConnection } from "../redis/topology.ts";
import { aclHint, errorMessage, isDenied, SessionStoreError } from "../reporting/errors.ts";
import { warnOfDeniedChannel } from "./expired-events.ts";
import type { SessionSubscriptions } from "./session-subscriptions.ts";

export interface SubscriptionOptions {
  /** A new client, not connected yet. The subscription closes it. */
  readonly connection: SubscriberConnection;
  readonly channels: string[];
  /** A channel whose denial is no more than warned of. */
  readonly expiredChannel: string | undefined;
  /** What else the connection must show, once it is subscribed, and the sessions on it. Rejects if it does not. */
  readonly prove: () => Promise<SessionSubscriptions>;
  /** Must not throw: node-redis would drop the rest of what it has received. */
  readonly onMessage: (message: string, channel: string) => void;
  /** Called once, when an open subscription is lost. */
  readonly onLost: (error: SessionStoreError) => void;
  readonly timeoutMs: number;
}

/**
 * One subscriber connection, from opening to closing. It is never repaired: the first error closes it, and the owner
 * opens another.
 */
export class Subscription {
  /** Undefined until it is open. */
  sessions: SessionSubscriptions | undefined;
  readonly #connection: SubscriberConnection;
  #hasEnded = false;
  /** While it is being opened, fails that. */
  #onLost: (error: SessionStoreError) => void = () => {};

  private constructor(connection: SubscriberConnection) {
    this.#connection = connection;
    const onEnd = (cause?: unknown) => {
      if (this.#hasEnded) return;
      this.end();
      this.#onLost(subscriptionError("The subscriber's connection was lost", cause));
    };
    // A duplicate has no listeners, and one for "error" must exist before anything can fail.
    connection.on("error", onEnd);
    connection.on("end", () => onEnd());
  }

  /**
   * A subscription that Redis has acknowledged.
   * @throws SessionStoreError `ERR_SUBSCRIPTION`
   */
  static async open(options: SubscriptionOptions): Promise<Subscription> {
    const subscription = new Subscription(options.connection);
    try {
      await subscription.#open(options);
    } catch (cause) {
      subscription.end();
      if (cause instanceof SessionStoreError) throw cause;
      const hint = aclHint(errorMessage(cause), () => `+subscribe &${options.channels[0]}* +unsubscribe`);
      throw subscriptionError("Cannot subscribe", cause, hint);
    }
    subscription.#onLost = options.onLost;
    return subscription;
  }

  #open(options: SubscriptionOptions): Promise<void> {
    const { timeoutMs } = options;
    return new Promise((resolve, reject) => {
      // connect() and subscribe() may never settle: against a stalled server, or in node-redis's own retries.
      const onTimeout = () => reject(subscriptionError(`Cannot subscribe: no answer in ${timeoutMs} ms`));
      const timer = setTimeout(onTimeout, timeoutMs).unref();
      this.#onLost = reject;
      this.#subscribe(options)
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
  }

  async #subscribe(options: SubscriptionOptions): Promise<void> {
    const { connection, channels, expiredChannel, prove, onMessage } = options;
    const listener = (message: string, channel: string) => {
      if (!this.#hasEnded) onMessage(message, channel);
    };
    await connection.connect();
    // A Sentinel client subscribes even after destroy(): on a new connection, which nothing would close.
    if (this.#hasEnded) return;
    await connection.subscribe(channels, listener);
    if (this.#hasEnded) return;
    // Allowed or not: a subscription to a session that could not be ended again would be too many.
    await connection.unsubscribe(`${channels[0]}:none`, listener);
    if (this.#hasEnded) return;
    if (expiredChannel !== undefined) {
      // Redis refuses a SUBSCRIBE as a whole, so this one stands alone.
      await connection.subscribe([expiredChannel], listener).catch((error: unknown) => {
        if (!isDenied(errorMessage(error))) throw error;
        warnOfDeniedChannel(expiredChannel, error);
      });
    }
    this.sessions = await prove();
  }

  /** Closes the connection at once, without calling `onLost`. */
  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.sessions?.end();
    try {
      // Sentinel's returns a promise; the others throw if the connection is already closed.
      Promise.resolve(this.#connection.destroy()).catch(() => {});
    } catch {}
  }
}

export function subscriptionError(what: string, cause?: unknown, hint = ""): SessionStoreError {
  const reason = cause === undefined ? "" : `: ${errorMessage(cause)}`;
  return new SessionStoreError("ERR_SUBSCRIPTION", what + reason + hint, cause);
}
