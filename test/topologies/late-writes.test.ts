import { createCluster, createSentinel } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { newSpace, sessionOf, valuesOf } from "../support/node.ts";
import { type RedisCluster, startCluster } from "../support/redis/cluster.ts";
import { type SentinelSet, startSentinels } from "../support/redis/sentinel.ts";
import type { RedisServer } from "../support/redis/server.ts";
import * as v5 from "../support/redis-v5.ts";
import { type AnyClient, openStore, type StoreOptions } from "./stores.ts";

const TIMEOUT_MS = 2_000;
const WRITES = 200;
/** More than the buffers of a connection take. */
const LARGE = "x".repeat(32 * 2 ** 20);
/** Has writes fail while they wait, behind a large one of the application's, for servers that are stopped. */
async function surviveStall(
  create: () => AnyClient,
  servers: readonly RedisServer[],
  options: StoreOptions = {},
): Promise<void> {
  const space = newSpace();
  const given = { commandTimeoutMs: TIMEOUT_MS, ...options };
  const { store, client } = await openStore(create, space, given);
  // One slot, and so one connection.
  const sids = Array.from({ length: WRITES }, (_, i) => `{s}${i}`);
  await Promise.all(servers.map((server) => server.pause()));
  const { set } = client as unknown as { set(key: string, value: string): Promise<unknown> };
  const ofApplication = set.call(client, `${space.prefix}{s}large`, LARGE).catch(() => {});
  // A Cluster client queues it in a later microtask.
  await new Promise(setImmediate);
  const outcomes = await Promise.allSettled(sids.map((sid) => store.set(sid, sessionOf())));
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(["rejected"]));
  for (const server of servers) await server.resume();
  await ofApplication;
  // Behind everything that the client may still send. It gives its socket some more commands even while that takes no more.
  const found = [];
  for (const sid of sids) found.push(await eventually(() => store.get(sid).then((got) => [got])));
  expect(found.filter(([session]) => session !== null).length).toBeLessThan(WRITES / 2);
  expect(found.at(-1)).toEqual([null]);
  await eventually(() => store.set("{s}after", sessionOf({ v: 1 })).then(() => true));
  expect(valuesOf(await eventually(() => store.get("{s}after")))).toEqual({ v: 1 });
}

async function ownCluster(nodeTimeoutMs: number): Promise<RedisCluster> {
  const redis = await startCluster({ nodeTimeoutMs });
  onTestFinished(() => redis.stop());
  return redis;
}

async function ownSentinels(): Promise<SentinelSet> {
  const redis = await startSentinels();
  onTestFinished(() => redis.stop());
  return redis;
}

const creators = {
  "node-redis 6": { createCluster, createSentinel },
  "node-redis 5": { createCluster: v5.createCluster, createSentinel: v5.createSentinel },
} as unknown as Record<
  string,
  { createCluster: typeof createCluster; createSentinel: typeof createSentinel }
>;

describe.each(Object.entries(creators))("%s", (name, { createCluster, createSentinel }) => {
  test("Cluster, stalled: what has not been sent when it fails is not executed later", async () => {
    // There is no failover.
    const redis = await ownCluster(60_000);
    const servers = redis.nodes.map(({ server }) => server);
    await surviveStall(() => createCluster({ rootNodes: redis.rootNodes }) as AnyClient, servers);
  });

  test("Cluster: a write that was reported as failed is not executed by the next primary", async () => {
    const redis = await ownCluster(2_000);
    const space = newSpace();
    const { store } = await openStore(
      () => createCluster({ rootNodes: redis.rootNodes }) as AnyClient,
      space,
      { commandTimeoutMs: TIMEOUT_MS },
    );
    await eventually(() => store.set("s", sessionOf({ v: "in time" })).then(() => true));
    const { primary, replica } = await redis.ownersOf(`${space.prefix}s`);
    // A failover loses what is not replicated yet.
    await replica.run("READONLY");
    await eventually(async () => String(await replica.run("GET", `${space.prefix}s`)).includes("in time"));
    await primary.server.pause();
    await expect(store.set("s", sessionOf({ v: "sent" }))).rejects.toThrow();
    await primary.server.kill();
    // The client knows that it has lost the primary, and waits for the next, which may come in time. If it comes in the last
    // moment, the write may have been sent, and nobody knows its outcome.
    const outcomes = await store.set("s", sessionOf({ v: "next" })).then(
      () => ["next"],
      async () =>
        String(await replica.run("ROLE")).startsWith("master") ? ["in time", "next"] : ["in time"],
    );
    await eventually(() => store.set("s2", sessionOf()).then(() => true));
    const found = await eventually(() => store.get("s"));
    expect(outcomes.map((v) => ({ v }))).toContainEqual(valuesOf(found));
  });

  test("Sentinel, stalled: what has not been sent when it fails is not executed later", async () => {
    const redis = await ownSentinels();
    const { name: set, sentinelRootNodes, servers } = redis;
    const create = () => createSentinel({ name: set, sentinelRootNodes }) as AnyClient;
    const cluster = name.includes("5") ? { cluster: { subscriber: create } } : {};
    await surviveStall(create, servers, cluster);
  });
});
