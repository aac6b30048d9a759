import type { RedisStoreClient, RedisSubscriberSource } from "./client.ts";
import type { SubscriberConnection, SubscriberProtocol } from "./topology.ts";

interface SingleClient extends RedisStoreClient {
  readonly options?: { readonly socket?: object; readonly name?: string };
  duplicate(overrides: object): unknown;
}

/** A connection for subscribing, from a client of a single server or from a function. The latter decides its protocol itself. */
export function subscriberFrom(
  source: RedisSubscriberSource,
  protocol: SubscriberProtocol,
): SubscriberConnection {
  if (typeof source === "function") return source() as unknown as SubscriberConnection;
  const client = source as unknown as SingleClient;
  const { socket, name } = client.options ?? {};
  return client.duplicate({
    ...SUBSCRIBER_OPTIONS,
    ...(protocol === "RESP 3" && { RESP: 3 }),
    ...(name !== undefined && { name: `${name}:subscriber` }),
    socket: { ...socket, ...SUBSCRIBER_SOCKET },
  }) as SubscriberConnection;
}

/** Options that would disturb a subscriber. */
const SUBSCRIBER_OPTIONS = {
  clientSideCache: undefined,
  emitInvalidate: false,
  keyPrefix: undefined,
  pingInterval: undefined,
  commandsQueueMaxLength: undefined,
  disableOfflineQueue: false,
  commandOptions: {},
} as const;

/** A lost subscriber is replaced, never reconnected, and a quiet one is not idle. */
const SUBSCRIBER_SOCKET = { reconnectStrategy: false, socketTimeout: undefined } as const;
