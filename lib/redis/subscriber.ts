import type { RedisStoreClient, RedisSubscriberClient, RedisSubscriberSource } from "./client.ts";
import { asText, isErrorReply } from "./replies.ts";
import type {
  SessionConnection,
  SubscriberConnection,
  SubscriberEvent,
  SubscriberOptions,
} from "./topology.ts";

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

/** Replies have been assigned to other commands. */
export class OutOfStepError extends Error {
  constructor() {
    super("Replies are out of step");
  }
}

/** Classic channels: one command for all, and every server of a Cluster gets each message. */
export function classicConnection(subscriber: SubscriberConnection): SessionConnection {
  return {
    subscribe: (channels, listener) => subscriber.subscribe([...channels], listener),
    // A wrapped client may throw.
    unsubscribe: async (channels, listener) => subscriber.unsubscribe([...channels], listener),
    listeners: () => subscriber.getPubSubListeners?.("CHANNELS"),
    onMoved: () => {},
    read: (build) => build(subscriber.multi()).execAsPipeline().catch(noReplies),
  };
}

/**
 * Sharded channels: messages stay with the primary of the channel's slot. One command for each, since their slots differ.
 *
 * Redis ends the subscriptions by itself when the slot moves. node-redis (5 and 6) takes that notice for the reply to the command that
 * is in flight, if there is one: the notice is lost, and that command may be settled too early, and so may those that follow.
 * None is settled too late. So each `read` ends with a PING of its own: if that gets its own reply, all replies before it are in
 * place, and a refusal of a subscription before them has not been assigned to a later command.
 */
export function shardedConnection(subscriber: SubscriberConnection): SessionConnection {
  let pings = 0;
  const read: SessionConnection["read"] = async (build) => {
    const token = String(++pings);
    // A pipeline of its own: another rejects with its first error, before the replies behind that.
    const [replies, [pong]] = await Promise.all([
      build(subscriber.multi()).execAsPipeline().catch(noReplies),
      subscriber.multi().ping(token).execAsPipeline(),
    ]);
    if (asText(pong) === token) return replies;
    throw new OutOfStepError();
  };
  return {
    read,
    subscribe: (channels, listener) => forEach(channels, (each) => subscriber.sSubscribe(each, listener)),
    unsubscribe: (channels, listener) => forEach(channels, (each) => subscriber.sUnsubscribe(each, listener)),
    listeners: () => subscriber.getPubSubListeners?.("SHARDED"),
    onMoved: (listener) => {
      subscriber.on("sharded-channel-moved", (channel) => listener(String(channel)));
    },
    count: async () => {
      const [info] = (await read((batch) => batch.clientInfo())) ?? [];
      return (info as { readonly ssub?: number } | undefined)?.ssub;
    },
  };
}

/** Settles when all have: node-redis keeps a listener for each that succeeds, also after another has failed. */
async function forEach(channels: readonly string[], send: (channel: string) => Promise<unknown>) {
  for (const outcome of await Promise.allSettled(channels.map(send)))
    if (outcome.status === "rejected") throw outcome.reason;
}

/** Of a pipeline in which Redis refuses a command. Other errors are those of the connection. */
function noReplies(error: unknown): undefined {
  if (!isErrorReply(error)) throw error;
}
