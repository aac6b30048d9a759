import { createCluster, createSentinel } from "redis";
import * as v5 from "redis-v5";
import { describe, expect, onTestFinished, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startProxy } from "../support/fault-proxy.ts";
import { newSpace, sessionOf, valuesOf } from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { startSentinels } from "../support/redis/sentinel.ts";
import { type AnyClient, openStore } from "./stores.ts";

const TIMEOUT_MS = process.env["FIGURES"] ? 5_000 : 500;
const LEASE = { heartbeatMs: 50, leaseMs: 400, subscribeTimeoutMs: 3_000 } as const;

/** Leads every address that a client is told through a proxy of its own. */
class Detour {
  readonly #proxies = new Map<string, FaultProxy>();

  async add(host: string, port: number): Promise<void> {
    const proxy = await startProxy(`redis://${host}:${port}`);
    onTestFinished(() => proxy.close());
    this.#proxies.set(`${host}:${port}`, proxy);
  }

  readonly map = (address: string): { host: string; port: number } | undefined => {
    const proxy = this.#proxies.get(address);
    return proxy && { host: "127.0.0.1", port: proxy.port };
  };

  /** All connections that are open become half-open. */
  halfOpen(): void {
    for (const proxy of this.#proxies.values()) proxy.halfOpen();
  }
}

async function surviveHalfOpen(
  name: string,
  create: () => AnyClient,
  detour: Detour,
  options = {},
): Promise<void> {
  const space = newSpace();
  const { store } = await openStore(create, space, { commandTimeoutMs: TIMEOUT_MS, ...options });
  const sids = Array.from({ length: 30 }, (_, i) => `s${i}`);
  // In a Cluster, connections of every primary are in use.
  const writeAll = (v: number) => Promise.all(sids.map((sid) => store.set(sid, sessionOf({ v }))));
  await writeAll(1);
  const from = performance.now();
  detour.halfOpen();
  await eventually(() => store.clusterStats.reconnects > 0);
  const replacedAt = performance.now();
  await eventually(() => store.clusterStats.state === "live");
  const liveAt = performance.now();
  await eventually(() => writeAll(2).then(() => true));
  for (const sid of sids) expect(valuesOf(await store.get(sid))).toEqual({ v: 2 });
  if (process.env["FIGURES"]) console.info(name, { replacedMs: replacedAt - from, liveMs: liveAt - from });
}

describe.each(["node-redis 6", "node-redis 5"])("half-open connections, %s", (name) => {
  test("of a Cluster client are replaced", async () => {
    const redis = await startCluster();
    onTestFinished(() => redis.stop());
    const detour = new Detour();
    for (const { url } of redis.nodes) await detour.add(new URL(url).hostname, Number(new URL(url).port));
    const options = { rootNodes: redis.rootNodes, nodeAddressMap: detour.map };
    const create = () =>
      (name.includes("5") ? v5.createCluster(options) : createCluster(options)) as AnyClient;
    await surviveHalfOpen(`Cluster, ${name}`, create, detour, { cluster: LEASE });
  });

  test("of a Sentinel client are replaced", async () => {
    const redis = await startSentinels();
    onTestFinished(() => redis.stop());
    const detour = new Detour();
    for (const { url } of redis.servers) await detour.add(new URL(url).hostname, Number(new URL(url).port));
    const options = {
      name: redis.name,
      sentinelRootNodes: redis.sentinelRootNodes,
      nodeAddressMap: detour.map,
    };
    const create = () =>
      (name.includes("5") ? v5.createSentinel(options) : createSentinel(options)) as unknown as AnyClient;
    const subscriber = name.includes("5") ? { subscriber: create } : {};
    await surviveHalfOpen(`Sentinel, ${name}`, create, detour, { cluster: { ...LEASE, ...subscriber } });
  });
});
