import { kindOf, type RedisSubscriberClient, type RedisSubscriberSource } from "../redis/client.ts";
import { reasonOf, rightsFor, SessionStoreError } from "../reporting/errors.ts";

/** What is used of the duplicate. */
interface Connection {
  on(event: "error" | "end" | "topology-change", listener: (error?: unknown) => void): unknown;
  connect(): Promise<unknown>;
  subscribe(channels: string[], listener: (message: string, channel: string) => void): Promise<unknown>;
  destroy(): unknown;
}

export interface SubscriptionOptions {
  readonly source: RedisSubscriberSource;
  readonly channels: string[];
  /** Whether the duplicate, once connected, is connected to whom it should be. */
  readonly accepts: (duplicate: unknown) => boolean;
  /** Must not throw: node-redis would lose the rest of what it has received. */
  readonly onMessage: (message: string, channel: string) => void;
  /** Called once, when an open subscription is lost by itself. */
  readonly onLost: (error: SessionStoreError) => void;
  readonly timeoutMs: number;
}

/**
 * One connection that listens, from its opening to its end. It is never repaired: at the first error it is thrown away, and
 * whoever wants to go on listening opens another. node-redis's own reconnection would subscribe again by itself, but it
 * does not repeat a SUBSCRIBE that was under way, cannot tell a mute connection from a quiet one, and hides in Cluster
 * and Sentinel what it lost; one way that always works is worth more.
 */
export class Subscription {
  #connection: Connection;
  #state: "opening" | "open" | "ended" = "opening";
  #fail: (error: SessionStoreError) => void = () => {};

  private constructor(options: SubscriptionOptions) {
    this.#connection = connectionFrom(options.source) as Connection;
    const lost = (cause?: unknown) => {
      const error = subscriptionError("The subscriber's connection was lost", cause);
      if (this.#state === "opening") return this.#fail(error);
      if (this.#state === "ended") return;
      this.end();
      options.onLost(error);
    };
    // A duplicate has no listeners, and one for "error" must be there before anything can go wrong.
    this.#connection.on("error", lost);
    this.#connection.on("end", () => lost());
    // A Sentinel client goes on with the next primary by itself, and subscribes there, but what was published meanwhile is lost.
    this.#connection.on("topology-change", (event) => {
      if (this.#state === "open" && (event as { type?: string }).type === "MASTER_CHANGE")
        lost(new Error("The primary changed"));
    });
  }

  /**
   * A subscription that Redis has acknowledged.
   * @throws SessionStoreError `ERR_SUBSCRIPTION`
   */
  static async open(options: SubscriptionOptions): Promise<Subscription> {
    const subscription = new Subscription(options);
    try {
      await subscription.#open(options);
    } catch (cause) {
      subscription.end();
      if (cause instanceof SessionStoreError) throw cause;
      const rights = rightsFor(reasonOf(cause), () => `+subscribe &${options.channels[0]}*`);
      throw subscriptionError("Cannot subscribe", cause, rights);
    }
    subscription.#state = "open";
    return subscription;
  }

  #open({ channels, accepts, onMessage, timeoutMs }: SubscriptionOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      // connect() and subscribe() may hang for ever: against a stalled server, or in node-redis's own retries.
      const late = () => reject(subscriptionError(`Cannot subscribe: no answer in ${timeoutMs} ms`));
      const timer = setTimeout(late, timeoutMs).unref();
      this.#fail = reject;
      const listen = (message: string, channel: string) => {
        if (this.#state !== "ended") onMessage(message, channel);
      };
      this.#connection
        .connect()
        .then(() => {
          // A Sentinel client subscribes even after destroy(): on a new connection, which nothing would close.
          return this.#state === "ended" ? undefined : this.#connection.subscribe(channels, listen);
        })
        .then(() => {
          if (!accepts(this.#connection))
            throw subscriptionError("The subscriber follows another primary than the client");
        })
        .then(resolve, reject)
        .finally(() => clearTimeout(timer));
    });
  }

  /** Ends the connection at once; `onLost` is not called. */
  end(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    try {
      // Sentinel's returns a promise; the others throw when the connection is already gone.
      Promise.resolve(this.#connection.destroy()).catch(() => {});
    } catch {}
  }
}

function subscriptionError(what: string, cause?: unknown, more = ""): SessionStoreError {
  const why = cause === undefined ? "" : `: ${reasonOf(cause)}`;
  return new SessionStoreError("ERR_SUBSCRIPTION", what + why + more, cause);
}

function connectionFrom(source: RedisSubscriberSource): unknown {
  if (typeof source === "function") return source();
  return (source as { duplicate(overrides?: object): unknown }).duplicate(overridesFor(source));
}

/** What a subscriber must not share with the client that it is a duplicate of. */
function overridesFor(client: RedisSubscriberClient): object | undefined {
  const kind = kindOf(client);
  if (kind === "single") {
    const { options } = client as { options?: { socket?: object; name?: string } };
    return {
      ...LISTENING_ONLY,
      ...(options?.name !== undefined && { name: `${options.name}:subscriber` }),
      socket: { ...options?.socket, ...NO_RECONNECTION },
    };
  }
  // A Sentinel client keeps its options to itself, so they cannot be overridden without losing credentials.
  return undefined;
}

const LISTENING_ONLY = {
  clientSideCache: undefined,
  emitInvalidate: false,
  keyPrefix: undefined,
  pingInterval: undefined,
  commandsQueueMaxLength: undefined,
  disableOfflineQueue: false,
  commandOptions: {},
} as const;

const NO_RECONNECTION = { reconnectStrategy: false, socketTimeout: undefined } as const;
