import { createClient } from "redis";
import { startCluster } from "../../support/redis/cluster.ts";
import { startSentinels } from "../../support/redis/sentinel.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { startRedis } from "../../support/redis-server.ts";
import type { Kind } from "./clients.ts";

/** The servers of one kind of client. */
export interface Place {
  /** What `clientOf` needs. */
  readonly address: string;
  /** All that hold sessions. */
  readonly servers: readonly RedisServer[];
  stop(): Promise<void>;
}

export async function startPlace(kind: Kind): Promise<Place> {
  if (kind === "Cluster") {
    const cluster = await startCluster();
    const servers = cluster.nodes.map(({ server }) => server);
    return { address: JSON.stringify(cluster.rootNodes), servers, stop: () => cluster.stop() };
  }
  if (kind === "Sentinel") {
    const { name, sentinelRootNodes, servers, stop } = await startSentinels();
    return { address: JSON.stringify({ name, sentinelRootNodes }), servers, stop };
  }
  const redis = await startRedis({ own: true });
  return { address: redis.url, servers: [redis], stop: () => redis.stop() };
}

/** Sends a command to each server. @returns the replies of those that do not refuse it */
export async function askAll(servers: readonly RedisServer[], ...args: string[]): Promise<unknown[]> {
  const replies: unknown[] = [];
  for (const { url } of servers) {
    const client = await createClient({ url }).connect();
    replies.push(await client.sendCommand(args).catch(() => undefined));
    client.destroy();
  }
  return replies.filter((reply) => reply !== undefined);
}
