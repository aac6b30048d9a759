import { createCluster } from "redis";
import { afterAll, beforeAll } from "vitest";
import type { Space } from "../support/node.ts";
import {
  type ClusterNode,
  type ClusterStartOptions,
  type RedisCluster,
  startCluster,
} from "../support/redis/cluster.ts";
import * as v5 from "../support/redis-v5.ts";
import type { AnyClient } from "./stores.ts";

/** The Cluster of `useCluster`. */
export let redis: RedisCluster;

/** Starts a Cluster before the tests of a file, and stops it after them. */
export function useCluster(options?: ClusterStartOptions): void {
  beforeAll(async () => {
    redis = await startCluster(options);
  });
  afterAll(() => redis?.stop());
}

/** Clients of that Cluster, by version. */
export const clients = {
  "node-redis 6": () => createCluster({ rootNodes: redis.rootNodes }) as AnyClient,
  "node-redis 6, RESP2": () => createCluster({ rootNodes: redis.rootNodes, RESP: 2 }) as AnyClient,
  "node-redis 5": () => v5.createCluster({ rootNodes: redis.rootNodes }) as AnyClient,
};

/** A session id whose key is served by this primary. */
export async function sidAt(cluster: RedisCluster, space: Space, primary: ClusterNode): Promise<string> {
  for (let i = 0; ; i++)
    if ((await cluster.ownersOf(`${space.prefix}here${i}`)).primary === primary) return `here${i}`;
}

/** Where a session is, and where it may go. */
export async function placesOf(cluster: RedisCluster, key: string) {
  const slot = await cluster.slotOf(key);
  const { primary: from } = await cluster.ownersOf(key);
  const others = (await cluster.primaries()).filter((node) => node !== from);
  return { slot, from, to: others[0] as ClusterNode, third: others[1] as ClusterNode };
}

/** Has a slot migrate with its keys, up to the point where its new primary is named. */
export async function migrate(slot: number, from: ClusterNode, to: ClusterNode): Promise<void> {
  await to.run("CLUSTER", "SETSLOT", String(slot), "IMPORTING", from.id);
  await from.run("CLUSTER", "SETSLOT", String(slot), "MIGRATING", to.id);
  const keys = (await from.run("CLUSTER", "GETKEYSINSLOT", String(slot), "1000")) as string[];
  await from.run("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys.map(String));
}
