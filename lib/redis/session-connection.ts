import { asText, isErrorReply } from "./replies.ts";
import type { SessionConnection, SubscriberConnection } from "./topology.ts";

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
    unsubscribe: (channels, listener) => subscriber.unsubscribe([...channels], listener),
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
