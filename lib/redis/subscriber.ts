import type { RedisStoreClient, RedisSubscriberClient, RedisSubscriberSource } from "./client.ts";
import type { SubscriberConnection, SubscriberEvent, SubscriberOptions } from "./topology.ts";

interface SingleClient extends RedisStoreClient {
  readonly options?: { readonly socket?: object; readonly name?: string };
  duplicate(overrides: object): unknown;
}

/**
 * A connection for subscribing, from a client of a single server or from a function, which decides about the options itself. It keeps
 * no process alive: one that closes its client, as with connect-redis, ends, whether or not it closes the store.
 */
export function subscriberFrom(
  source: RedisSubscriberSource,
  options: SubscriberOptions,
): SubscriberConnection {
  const created = typeof source === "function" ? source() : duplicateOf(source, options);
  const subscriber = created as OwnConnection;
  subscriber.unref?.();
  delayDestroy(subscriber);
  return subscriber;
}

/** A client of a single server that nobody else uses. */
interface OwnConnection extends SubscriberConnection {
  unref?(): void;
  on(event: SubscriberEvent | "connect", listener: (given?: unknown) => void): unknown;
}

/**
 * Lets `destroy` wait while the client is being connected: node-redis would never close the socket that it gets then. If it gets
 * none, it emits an error, or has closed itself.
 */
function delayDestroy(client: OwnConnection): void {
  const destroy = client.destroy.bind(client);
  let isConnecting = true;
  let isUnwanted = false;
  const onSettled = () => {
    isConnecting = false;
    if (!isUnwanted) return;
    try {
      destroy();
    } catch {
      // It is closed already.
    }
  };
  client.on("connect", () => setImmediate(onSettled));
  client.on("error", onSettled);
  client.destroy = () => {
    isUnwanted = true;
    return isConnecting ? undefined : destroy();
  };
}

function duplicateOf(source: RedisSubscriberClient, { protocol, isTracked }: SubscriberOptions): unknown {
  const client = source as unknown as SingleClient;
  const { socket, name } = client.options ?? {};
  return client.duplicate({
    ...SUBSCRIBER_OPTIONS,
    ...(protocol === "RESP 3" && { RESP: 3 }),
    emitInvalidate: isTracked,
    ...(name !== undefined && { name: `${name}:subscriber` }),
    socket: { ...socket, ...SUBSCRIBER_SOCKET },
  });
}

/** Options that would disturb a subscriber. */
const SUBSCRIBER_OPTIONS = {
  clientSideCache: undefined,
  keyPrefix: undefined,
  pingInterval: undefined,
  commandsQueueMaxLength: undefined,
  disableOfflineQueue: false,
  commandOptions: {},
} as const;

/** A lost subscriber is replaced, never reconnected, and a quiet one is not idle. */
const SUBSCRIBER_SOCKET = { reconnectStrategy: false, socketTimeout: undefined } as const;
