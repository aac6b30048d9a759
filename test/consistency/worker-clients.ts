import { setTimeout as pause } from "node:timers/promises";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import type { ClusterOptions, RedisStoreClient } from "../../lib/index.ts";
import type { NodeSettings } from "./protocol.ts";

export interface Connections {
  readonly client: RedisStoreClient;
  /** Undefined where the store makes one itself. */
  readonly subscriber: NonNullable<ClusterOptions["subscriber"]> | undefined;
}

/** The clients of a node, connecting in the background: what they connect to may be under a fault. */
export function connectionsFor({ access, name }: NodeSettings): Connections {
  if (access.kind === "cluster") {
    const client = createCluster({ rootNodes: [...access.rootNodes], defaults: { name } });
    return { client: begun(client), subscriber: undefined };
  }
  if (access.kind === "sentinel") {
    const { sentinelRootNodes } = access;
    const client = createSentinel({
      name: access.name,
      sentinelRootNodes: [...sentinelRootNodes],
      nodeClientOptions: { name },
    });
    return { client: begun(client), subscriber: undefined };
  }
  const options = { url: access.dataUrl, name };
  // With a pool, reads go on while a write hangs: what it then writes late meets a cache that has been filled since.
  const client = access.pool ? createClientPool(options, { minimum: 3 }) : createClient(options);
  return { client: begun(client), subscriber: createClient({ url: access.busUrl, name }) as never };
}

/** Writes as another program does. Without a name, so that the record takes it for nobody's of the nodes. */
export function outsideWriter({ access, isTracked, prefix }: NodeSettings) {
  if (access.kind !== "single" || !isTracked) return () => {};
  const client = createClient({ url: access.dataUrl, disableOfflineQueue: true });
  begun(client as never);
  return (sid: string, text: string, lifeMs: number): void => {
    client.set(prefix + sid, text, { expiration: { type: "PX", value: lifeMs } }).catch(() => {});
  };
}

const PINGS = 20;
const PING_MS = 25;

/**
 * What an application does that wants no reply, on the client that it shares with the store: node-redis waits for one to each
 * command all the same, so that from then on each command gets the reply to the next but one.
 *
 * Nothing but heartbeats is sent meanwhile, since nobody could protect what is: node-redis assigns all replies that it has
 * received before anybody sees the first. The application's own commands bring the replies that heartbeats get. There are two rounds of
 * them: a heartbeat that was on its way before may be answered in the first, so that another is sent in the second.
 */
export async function skipReplies(client: RedisStoreClient): Promise<void> {
  const shared = client as unknown as ReturnType<typeof createClient>;
  const send = (...args: string[]) => shared.sendCommand(args).catch(() => {});
  void send("CLIENT", "REPLY", "SKIP");
  for (let round = 0; round < 2; round++) {
    const pings: Promise<unknown>[] = [];
    for (let i = 0; i < PINGS; i++) {
      pings.push(send("PING"));
      await pause(PING_MS);
    }
    // The last two may never get a reply.
    await Promise.all(pings.slice(0, -2));
  }
}

interface Connectable {
  on(event: "error", listener: () => void): unknown;
  connect(): Promise<unknown>;
}

function begun<C extends Connectable>(client: C): RedisStoreClient {
  client.on("error", () => {});
  client.connect().catch(() => {});
  return client as unknown as RedisStoreClient;
}
