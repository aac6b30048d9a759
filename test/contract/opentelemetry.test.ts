import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";
import { expect, onTestFinished, test } from "vitest";
import { observeStore } from "../../lib/opentelemetry.ts";
import { STATES, STATS } from "../../lib/reporting/readable-stats.ts";
import { newSpace, sessionOf, startNode, watchCommands } from "../support/node.ts";

/** A meter of the SDK, and what it exports. */
function sdk(temporality = AggregationTemporality.CUMULATIVE) {
  const exporter = new InMemoryMetricExporter(temporality);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  onTestFinished(() => provider.shutdown());
  const collect = async () => {
    exporter.reset();
    await reader.forceFlush();
    const metrics = exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    return new Map(metrics.map((metric) => [metric.descriptor.name, metric]));
  };
  return { meter: provider.getMeter("test"), collect };
}

const values = (metric: MetricData | undefined) => metric?.dataPoints.map(({ value }) => value);

test("every stat is a metric with a unit, and requests send nothing for it", async () => {
  const space = newSpace();
  const { store } = await startNode(space);
  const { meter, collect } = sdk();
  observeStore(store, { meter });
  await store.set("secret-id", sessionOf({}));
  for (let i = 0; i < 3; i++) await store.get("secret-id");
  const commands = await watchCommands(space);
  const metrics = await collect();
  expect(commands).toEqual([]);
  // What is unknown is absent: for example, nothing is away, and nothing is tracked.
  const namesOf = (stats: typeof STATS) => stats.map(({ otel }) => `clustered_redis_store.${otel.name}`);
  const unknown = namesOf(STATS.filter(({ read }) => read(store) === null));
  expect(unknown).toEqual(
    expect.arrayContaining(["clustered_redis_store.outage.duration", "clustered_redis_store.tracking"]),
  );
  const names = namesOf(STATS);
  expect([...metrics.keys()].sort()).toEqual(
    [...names, "clustered_redis_store.state"].filter((name) => metrics.has(name)).sort(),
  );
  const missing = names.filter((name) => !metrics.has(name) || values(metrics.get(name))?.length === 0);
  expect(missing).toEqual(unknown);
  expect(values(metrics.get("clustered_redis_store.cache.hits"))).toEqual([3]);
  expect(values(metrics.get("clustered_redis_store.cache.session.count"))).toEqual([1]);
  expect(metrics.get("clustered_redis_store.cache.size")?.descriptor.unit).toBe("By");
  expect(metrics.get("clustered_redis_store.lease.age")?.descriptor.unit).toBe("s");
  const [age = Number.NaN] = values(metrics.get("clustered_redis_store.lease.age")) as number[];
  expect(age).toBeGreaterThanOrEqual(0);
  expect(age).toBeLessThan(120);
  const states = metrics.get("clustered_redis_store.state")?.dataPoints ?? [];
  expect(
    Object.fromEntries(
      states.map(({ attributes, value }) => [attributes["clustered_redis_store.state"], value]),
    ),
  ).toEqual(Object.fromEntries(STATES.map((state) => [state, state === "live" ? 1 : 0])));
});

test("names, units and attributes follow the conventions, and contain no id", async () => {
  const { store } = await startNode(newSpace());
  const { meter, collect } = sdk();
  observeStore(store, { meter, name: "users" });
  await store.set("secret-id", sessionOf({}));
  const metrics = await collect();
  expect(metrics.size).toBeGreaterThan(10);
  for (const { descriptor, dataPoints } of metrics.values()) {
    expect(descriptor.name).toMatch(/^clustered_redis_store(\.[a-z]+(_[a-z]+)*)+$/);
    expect(descriptor.name).not.toMatch(/_total|_seconds|_bytes/);
    expect(descriptor.unit).toMatch(/^(\{[a-z]+\}|By|s|1)$/);
    expect(descriptor.description).not.toBe("");
    for (const { attributes } of dataPoints) {
      const others = descriptor.name.endsWith(".state") ? ["clustered_redis_store.state"] : [];
      expect(Object.keys(attributes).sort()).toEqual(["clustered_redis_store.name", ...others]);
      expect(attributes["clustered_redis_store.name"]).toBe("users");
    }
  }
  const text = JSON.stringify([...metrics.values()]);
  for (const id of ["secret-id", store.clusterStats.nodeId]) expect(text).not.toContain(id);
});

test.each([
  ["cumulative", AggregationTemporality.CUMULATIVE, [2, 5, 6]],
  ["delta", AggregationTemporality.DELTA, [2, 3, 1]],
])(
  "counters with %s temporality never decrease, even after resetCacheStats",
  async (_, temporality, expected) => {
    const { store } = await startNode(newSpace());
    const { meter, collect } = sdk(temporality);
    observeStore(store, { meter });
    await store.set("s", sessionOf({}));
    const hits: unknown[] = [];
    for (const count of [2, 3, 1]) {
      if (count === 1) store.resetCacheStats();
      for (let i = 0; i < count; i++) await store.get("s");
      hits.push(...(values((await collect()).get("clustered_redis_store.cache.hits")) ?? []));
    }
    expect(hits).toEqual(expected);
  },
);

test("several stores share the metrics, and one that is stopped is absent", async () => {
  const [users, admins] = [await startNode(newSpace()), await startNode(newSpace())];
  // The SDK repeats the last cumulative value of what is no longer observed.
  const { meter, collect } = sdk(AggregationTemporality.DELTA);
  const stop = observeStore(users.store, { meter, name: "users" });
  observeStore(admins.store, { meter, name: "admins" });
  const names = async () => {
    const metric = (await collect()).get("clustered_redis_store.cache.misses");
    return metric?.dataPoints.map(({ attributes }) => attributes["clustered_redis_store.name"]).sort();
  };
  expect(await names()).toEqual(["admins", "users"]);
  stop();
  stop();
  expect(await names()).toEqual(["admins"]);
});

test("wrong arguments are TypeErrors", async () => {
  const { store } = await startNode(newSpace());
  const { meter } = sdk();
  const observe = (...args: unknown[]) => observeStore(...(args as Parameters<typeof observeStore>));
  expect(() => observe({}, { meter })).toThrow("observeStore: store: expected a ClusteredRedisStore");
  expect(() => observe(store, { meter: {} })).toThrow("observeStore: meter: expected a Meter");
  expect(() => observe(store, { meter, name: "" })).toThrow(
    "observeStore: name: expected a string that is not empty",
  );
});
