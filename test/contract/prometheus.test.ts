import { Registry, register } from "prom-client";
import { expect, onTestFinished, test } from "vitest";
import type { ClusterStats } from "../../lib/index.ts";
import { collectStoreMetrics, type MeteredStore } from "../../lib/prometheus.ts";
import { CACHE_STATS, CLUSTER_STATS, type StatsOf, type StatTable } from "../../lib/reporting/counters.ts";
import { eventually } from "../support/eventually.ts";
import { cacheIn, newSpace, sessionOf, startNode } from "../support/node.ts";

/** All series with their values, as Prometheus would read them. */
async function scrape(registry: Registry): Promise<Record<string, number>> {
  const lines = (await registry.metrics()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return Object.fromEntries(
    lines.map((line) => [line.replace(/ [^ ]+$/, ""), Number(line.split(" ").at(-1))]),
  );
}

/** Stats that are all 0, so that a new one needs no change here. */
function zeros<T extends StatTable>(table: T): StatsOf<T> {
  return Object.fromEntries(Object.keys(table).map((name) => [name, 0])) as StatsOf<T>;
}

const CLUSTER: ClusterStats = {
  ...zeros(CLUSTER_STATS),
  nodeId: "a",
  state: "live",
  messagesPublished: 1,
  messagesReceived: 2,
  messagesIgnored: 3,
  invalidations: 4,
  flushes: 5,
  fencedFills: 6,
  resurrections: 7,
  conflicts: 8,
  failedTouches: 9,
  staleHits: 15,
  refusals: 16,
  reconnects: 17,
  outageMs: 6_500,
  subscriptions: 18,
  leaseAgeMs: 250,
};

/** Something with stats, to be changed at will. */
function metered(): { cacheStats: MeteredStore["cacheStats"]; clusterStats: ClusterStats } {
  return {
    cacheStats: {
      ...zeros(CACHE_STATS),
      hits: 10,
      misses: 11,
      evictions: 12,
      size: 13,
      bytes: 14,
    },
    clusterStats: CLUSTER,
  };
}

test("every stat is a metric, in base units", async () => {
  const registry = new Registry();
  collectStoreMetrics(metered(), { register: registry });
  const { 'clustered_redis_store_state{store="default",state="live"}': live, ...rest } =
    await scrape(registry);
  expect(live).toBe(1);
  const values = Object.entries(rest).map(([series, value]) => [
    series.replace(/^clustered_redis_store_(\w+)\{store="default"(?:,state="(\w+)")?\}$/, "$1 $2").trim(),
    value,
  ]);
  expect(Object.fromEntries(values)).toMatchObject({
    cache_hits_total: 10,
    cache_misses_total: 11,
    cache_evictions_total: 12,
    cache_entries: 13,
    cache_bytes: 14,
    messages_published_total: 1,
    messages_received_total: 2,
    messages_ignored_total: 3,
    invalidations_total: 4,
    cache_flushes_total: 5,
    fenced_fills_total: 6,
    resurrections_total: 7,
    conflicts_total: 8,
    failed_touches_total: 9,
    stale_hits_total: 15,
    refusals_total: 16,
    reconnects_total: 17,
    outage_seconds: 6.5,
    subscriptions: 18,
    lease_age_seconds: 0.25,
    "state off": 0,
    "state syncing": 0,
    "state suspect": 0,
  });
  const metrics = Object.values({ ...CACHE_STATS, ...CLUSTER_STATS }).map(({ metric }) => metric);
  const names = values.map(([name]) => name);
  expect(names.sort()).toEqual([...metrics, "state off", "state suspect", "state syncing"].sort());
});

test("every number of a store's stats is a metric", async () => {
  const { store } = await startNode(newSpace());
  // The labels of instance and job say who it is; the rate is a quotient of two counters.
  const leftOut = ["nodeId", "hitRate"];
  const stats = { ...store.cacheStats, ...store.clusterStats };
  const read = new Set<string>();
  const noting = <T extends object>(figures: T) =>
    new Proxy(figures, {
      get: (target, key) => {
        read.add(String(key));
        return Reflect.get(target, key);
      },
    });
  const registry = new Registry();
  const noted = { cacheStats: noting(store.cacheStats), clusterStats: noting(store.clusterStats) };
  collectStoreMetrics(noted, { register: registry });
  await registry.metrics();
  expect([...read, ...leftOut].sort()).toEqual(Object.keys(stats).sort());
});

test("the metrics are those of a real store, at the moment of the scrape", async () => {
  const space = newSpace();
  const [a, b] = await Promise.all([startNode(space), startNode(space)]);
  const registry = new Registry();
  collectStoreMetrics(b.store, { register: registry });
  await a.store.set("s", sessionOf());
  await cacheIn(b.store, "s");
  await a.store.set("s", sessionOf());
  await eventually(() => b.store.clusterStats.invalidations === 1);
  await cacheIn(b.store, "s");
  b.store.resetCacheStats();
  for (let i = 0; i < 3; i++) await b.store.get("s");
  await b.store.get("other");
  const series = (name: string) => `clustered_redis_store_${name}{store="default"}`;
  const live = await scrape(registry);
  expect(live[series("cache_hits_total")]).toBe(3);
  expect(live[series("cache_misses_total")]).toBe(1);
  expect(live[series("cache_entries")]).toBe(1);
  expect(live[series("invalidations_total")]).toBe(1);
  expect(live[series("lease_age_seconds")]).toBeLessThan(60);

  b.bus.refuse();
  await eventually(() => b.store.clusterStats.state === "suspect");
  const suspect = await scrape(registry);
  expect(suspect['clustered_redis_store_state{store="default",state="suspect"}']).toBe(1);
  expect(suspect['clustered_redis_store_state{store="default",state="live"}']).toBe(0);
  expect(suspect[series("cache_entries")]).toBe(0);
  expect(suspect).not.toHaveProperty([series("lease_age_seconds")]);
});

test("counters continue after resetCacheStats, without what was not scraped before it", async () => {
  const { store } = await startNode(newSpace());
  const registry = new Registry();
  collectStoreMetrics(store, { register: registry });
  const hits = async () =>
    (await scrape(registry))['clustered_redis_store_cache_hits_total{store="default"}'];
  await store.set("s", sessionOf());
  for (let i = 0; i < 5; i++) await store.get("s");
  expect(await hits()).toBe(5);
  await store.get("s");
  store.resetCacheStats();
  for (let i = 0; i < 2; i++) await store.get("s");
  expect(await hits()).toBe(7);
  expect(await hits()).toBe(7);
});

test("several stores of one process are distinguished by a label", async () => {
  const registry = new Registry();
  const users = metered();
  const admins = metered();
  admins.cacheStats = { ...admins.cacheStats, hits: 99 };
  const endUsers = collectStoreMetrics(users, { register: registry, name: "users" });
  const endAdmins = collectStoreMetrics(admins, { register: registry, name: "admins" });
  const both = await scrape(registry);
  expect(both['clustered_redis_store_cache_hits_total{store="users"}']).toBe(10);
  expect(both['clustered_redis_store_cache_hits_total{store="admins"}']).toBe(99);

  expect(() => collectStoreMetrics(users, { register: registry, name: "users" })).toThrow(
    new TypeError('collectStoreMetrics: name: expected one that no other collected store has, got "users"'),
  );

  endUsers();
  const one = await scrape(registry);
  expect(Object.keys(one).filter((series) => series.includes("users"))).toEqual([]);
  expect(one['clustered_redis_store_cache_hits_total{store="admins"}']).toBe(99);

  endAdmins();
  endAdmins();
  expect(registry.getMetricsAsArray()).toEqual([]);
  collectStoreMetrics(users, { register: registry, name: "users" });
  expect(Object.keys(await scrape(registry))).not.toEqual([]);
});

test("without options they go into prom-client's global registry; a cleared registry can be filled again", async () => {
  onTestFinished(() => register.clear());
  collectStoreMetrics(metered());
  register.clear();
  collectStoreMetrics(metered());
  expect((await scrape(register))['clustered_redis_store_cache_bytes{store="default"}']).toBe(14);
});

test("another prefix, and the OpenMetrics format", async () => {
  const registry = new Registry<(typeof Registry)["OPENMETRICS_CONTENT_TYPE"]>();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  collectStoreMetrics(metered(), { register: registry, prefix: "shop_sessions_" });
  const text = await registry.metrics();
  expect(text).toContain('shop_sessions_cache_hits_total{store="default"} 10');
  expect(text).not.toContain("clustered_redis_store");
  expect(text).toContain("# EOF");
});

test("what is no store, no registry, no name, or would collide is rejected, and registers nothing", () => {
  const registry = new Registry();
  const options = { register: registry };
  expect(() => collectStoreMetrics({} as MeteredStore, options)).toThrow(
    new TypeError("collectStoreMetrics: store: expected a ClusteredRedisStore, got an object (Object)"),
  );
  expect(() => collectStoreMetrics(undefined as unknown as MeteredStore, options)).toThrow(/got undefined/);
  expect(() => collectStoreMetrics(metered(), { ...options, name: "" })).toThrow(/name: expected a string/);
  expect(() => collectStoreMetrics(metered(), { register: Registry as unknown as Registry })).toThrow(
    new TypeError("collectStoreMetrics: register: expected a registry of prom-client, got a function"),
  );
  expect(() => collectStoreMetrics(metered(), registry as object)).toThrow(
    new TypeError("collectStoreMetrics: options: expected an object, got a registry: pass { register }"),
  );
  expect([...registry.getMetricsAsArray(), ...register.getMetricsAsArray()]).toEqual([]);

  collectStoreMetrics(metered(), options);
  registry.removeSingleMetric("clustered_redis_store_state");
  const before = registry.getMetricsAsArray().length;
  expect(() => collectStoreMetrics(metered(), options)).toThrow(
    'prefix: expected one for which the metric name "clustered_redis_store_cache_hits_total" is free',
  );
  expect(registry.getMetricsAsArray()).toHaveLength(before);
});

test("a closed store can be scraped", async () => {
  const { store } = await startNode(newSpace());
  const registry = new Registry();
  collectStoreMetrics(store, { register: registry });
  await store.close();
  expect((await scrape(registry))['clustered_redis_store_state{store="default",state="off"}']).toBe(1);
});
