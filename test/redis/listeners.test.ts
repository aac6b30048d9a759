import type { EventEmitter } from "node:events";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";
import * as v5 from "redis-v5";
import { expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore, type RedisStoreClient } from "../../lib/index.ts";

const sentinel = { name: "main", sentinelRootNodes: [{ host: "127.0.0.1", port: 1 }] };
const clients: Record<string, () => RedisStoreClient> = {
  "a client": () => createClient(),
  "a client of node-redis 5": () => v5.createClient(),
  "a pool": () => createClientPool(),
  "a pool of node-redis 5": () => v5.createClientPool(),
  "a Cluster client": () => createCluster({ rootNodes: [{}] }),
  "a Cluster client of node-redis 5": () => v5.createCluster({ rootNodes: [{}] }),
  "a Sentinel client": () => createSentinel(sentinel),
  "a Sentinel client of node-redis 5": () => v5.createSentinel(sentinel),
};

test.each(Object.entries(clients))("%s has as many listeners with one store as with many", (_, create) => {
  const client = create();
  const emitter = client as unknown as EventEmitter;
  const listeners = () => emitter.eventNames().map((name) => [name, emitter.listenerCount(name)]);
  const use = () => {
    const store = new ClusteredRedisStore({ client, localCache: false, cluster: false });
    onTestFinished(() => store.close());
  };
  use();
  const withOne = listeners();
  for (let i = 0; i < 20; i++) use();
  expect(listeners()).toEqual(withOne);
});
