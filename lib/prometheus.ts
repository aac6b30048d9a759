/**
 * Metrics of a store for prom-client.
 * @module clustered-redis-store/prometheus
 */
import {
  Counter,
  Gauge,
  register as globalRegistry,
  type Registry,
  type RegistryContentType,
} from "prom-client";
import { optionError } from "./reporting/errors.ts";
import { COUNTERS, GAUGES, type MeteredStore, STATES } from "./store-metrics.ts";

export type { MeteredStore } from "./store-metrics.ts";

/** Where metrics go, and what they are called. */
export interface StoreMetricsOptions {
  /** The registry of prom-client that they are put into. @default prom-client's global one */
  readonly register?: Registry<RegistryContentType>;
  /** What their names begin with. @default "clustered_redis_store_" */
  readonly prefix?: string;
  /** The value of the label `store`, by which the stores of one process are told apart. @default "default" */
  readonly name?: string;
}

interface Metered {
  readonly store: MeteredStore;
  /** What each counter of the store showed at the last scrape. */
  readonly seen: Map<string, number>;
}

/** The metrics of one registry, and the stores that they show, by name. */
interface MetricSet {
  readonly metrics: ReadonlyMap<string, Counter | Gauge>;
  readonly stores: Map<string, Metered>;
}

/** A set is found by its metric of the state, and so it is forgotten when the user clears the registry. */
const setOf = new WeakMap<object, MetricSet>();

/**
 * Makes metrics of a store's stats, when they are scraped: between scrapes they cost nothing, and a scrape sends nothing
 * to Redis. A second store of the process needs a `name` of its own; it goes into the same metrics.
 *
 * Counters never go back: they grow on after `resetCacheStats`, and lack only what was counted between the last scrape
 * and that.
 *
 * @returns ends it: the store's series go, and with the last store the metrics
 * @throws TypeError when `store` is none, a store of that name is there already, or the registry has other metrics of these names
 */
export function collectStoreMetrics(store: MeteredStore, options: StoreMetricsOptions = {}): () => void {
  const { prefix = "clustered_redis_store_", name = "default" } = options;
  const register = (options.register ?? globalRegistry) as Registry;
  if (!store?.cacheStats || !store.clusterStats)
    throw optionError("collectStoreMetrics: store", "a ClusteredRedisStore", store);
  if (typeof name !== "string" || name === "")
    throw optionError("collectStoreMetrics: name", "a string that is not empty", name);
  const state = register.getSingleMetric(`${prefix}state`);
  const { metrics, stores } = (state && setOf.get(state)) ?? define(register, prefix);
  if (stores.has(name))
    throw optionError("collectStoreMetrics: name", "one that no other collected store has", name);
  const metered: Metered = { store, seen: new Map() };
  stores.set(name, metered);
  return () => {
    if (stores.get(name) !== metered) return;
    stores.delete(name);
    for (const [metricName, metric] of metrics) {
      if (stores.size === 0 && register.getSingleMetric(metricName) === metric) {
        register.removeSingleMetric(metricName);
      } else if (metric instanceof Counter) metric.remove(name);
    }
  };
}

function define(register: Registry, prefix: string): MetricSet {
  const names = [...COUNTERS, ...GAUGES, ["state"] as const].map(([name]) => prefix + name);
  const taken = names.find((name) => register.getSingleMetric(name));
  if (taken !== undefined)
    throw optionError("collectStoreMetrics: prefix", `one with which "${taken}" is not taken`, prefix);
  const stores: MetricSet["stores"] = new Map();
  const metrics = new Map<string, Counter | Gauge>();
  const common = (name: string, help: string) => ({
    name: prefix + name,
    help,
    labelNames: ["store"],
    registers: [register],
  });
  for (const [name, help, read] of COUNTERS) {
    const collect = (counter: Counter) => {
      for (const [label, { store, seen }] of stores) {
        const now = read(store);
        const before = seen.get(name) ?? 0;
        counter.inc({ store: label }, now < before ? now : now - before);
        seen.set(name, now);
      }
    };
    metrics.set(prefix + name, new Counter({ ...common(name, help), collect: collectWith(collect) }));
  }
  for (const [name, help, read] of GAUGES) {
    const collect = (gauge: Gauge) => {
      gauge.reset();
      for (const [label, { store }] of stores) {
        const now = read(store);
        if (now !== null) gauge.set({ store: label }, now);
      }
    };
    // Of the processes of a node:cluster, the one that has heard nothing for longest is of interest.
    const aggregator = name === "lease_age_seconds" ? "max" : "sum";
    const gauge = new Gauge({ ...common(name, help), aggregator, collect: collectWith(collect) });
    metrics.set(prefix + name, gauge);
  }
  const state: Gauge = new Gauge({
    ...common("state", "1 for the state that the store is in, 0 for the others"),
    labelNames: ["store", "state"],
    collect: () => {
      state.reset();
      for (const [label, { store }] of stores) {
        for (const one of STATES)
          state.set({ store: label, state: one }, one === store.clusterStats.state ? 1 : 0);
      }
    },
  });
  metrics.set(`${prefix}state`, state);
  const set = { metrics, stores };
  setOf.set(state, set);
  return set;
}

/** prom-client hands the metric as `this`. */
function collectWith<T>(collect: (metric: T) => void): (this: T) => void {
  return function () {
    collect(this);
  };
}
