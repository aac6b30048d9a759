import { createCluster } from "redis";
import * as v5 from "redis-v5";
import { afterAll } from "vitest";
import type { Space } from "../support/node.ts";
import {
  type ClusterNode,
  type ClusterStartOptions,
  type RedisCluster,
  startCluster,
} from "../support/redis/cluster.ts";
import type { AnyClient } from "./stores.ts";

/** A Cluster for the tests of a file, and clients of it by version. */
export async function useCluster(options?: ClusterStartOptions) {
  const redis = await startCluster(options);
  afterAll(() => redis.stop());
  const { rootNodes } = redis;
  const clients = {
    "node-redis 6": () => createCluster({ rootNodes }) as AnyClient,
    "node-redis 6, RESP2": () => createCluster({ rootNodes, RESP: 2 }) as AnyClient,
    "node-redis 5": () => v5.createCluster({ rootNodes }) as AnyClient,
  };
  return { redis, clients };
}

/** A session id whose key is served by this primary. */
export async function sidAt(redis: RedisCluster, space: Space, primary: ClusterNode): Promise<string> {
  for (let i = 0; ; i++)
    if ((await redis.ownersOf(`${space.prefix}here${i}`)).primary === primary) return `here${i}`;
}

/** Where a session is, and where it may go. */
export async function placesOf(redis: RedisCluster, key: string) {
  const slot = await redis.slotOf(key);
  const { primary: from } = await redis.ownersOf(key);
  const others = (await redis.primaries()).filter((node) => node !== from);
  return { slot, from, to: others[0] as ClusterNode, third: others[1] as ClusterNode };
}

/** Has a slot migrate with its keys, up to the point where its new primary is named. */
export async function migrate(slot: number, from: ClusterNode, to: ClusterNode): Promise<void> {
  await to.run("CLUSTER", "SETSLOT", String(slot), "IMPORTING", from.id);
  await from.run("CLUSTER", "SETSLOT", String(slot), "MIGRATING", to.id);
  const keys = (await from.run("CLUSTER", "GETKEYSINSLOT", String(slot), "1000")) as string[];
  await from.run("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys.map(String));
}
