import type { RedisStoreClient, RedisSubscriberClient, RedisSubscriberSource } from "./client.ts";
import type { SubscriberConnection, SubscriberOptions } from "./topology.ts";

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
  const subscriber = created as UnrefableConnection;
  subscriber.unref?.();
  return subscriber;
}

interface UnrefableConnection extends SubscriberConnection {
  unref?(): void;
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
