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
import { type MeteredStore, STATES, STATS } from "./reporting/readable-stats.ts";

export type { MeteredStore } from "./reporting/readable-stats.ts";

/** Where the metrics are registered, and their names. */
export interface StoreMetricsOptions {
  /** The prom-client registry to add the metrics to. @default prom-client's global registry */
  readonly register?: Registry<RegistryContentType> | undefined;
  /** The prefix of all metric names. @default "clustered_redis_store_" */
  readonly prefix?: string | undefined;
  /** The value of the label `store`, which distinguishes the stores of one process. @default "default" */
  readonly name?: string | undefined;
}

interface Metered {
  readonly store: MeteredStore;
  /** The value of each counter at the last scrape, by metric. */
  readonly seen: Map<string, number>;
}

/** The metrics of one registry, and the stores that they show, by name. */
interface MetricSet {
  readonly metrics: ReadonlyMap<string, Counter | Gauge>;
  readonly stores: Map<string, Metered>;
}

/** Sets by their metric `state`, so that a set is dropped when the user clears the registry. */
const metricSets = new WeakMap<object, MetricSet>();

/**
 * Exports a store's stats as metrics. They are read when Prometheus scrapes: they cost requests nothing, and a scrape sends
 * nothing to Redis. Each store of a process needs its own `name`; stores with the same registry and prefix share the metrics.
 *
 * Counters never decrease: they continue after `resetCacheStats`, and miss only what was counted between the last scrape and
 * the reset.
 *
 * @returns a function that removes the store's series, and with the last store the metrics
 * @throws TypeError when `store` is not a store, `register` not a registry, `name` is in use, or the registry already has metrics
 * with these names
 */
export function collectStoreMetrics(store: MeteredStore, options: StoreMetricsOptions = {}): () => void {
  const { prefix = "clustered_redis_store_", name = "default" } = options;
  const register = (options.register ?? globalRegistry) as Registry;
  if (!store?.cacheStats || !store.clusterStats) throw invalid("store", "a ClusteredRedisStore", store);
  if (typeof name !== "string" || name === "") throw invalid("name", "a string that is not empty", name);
  // Its metrics would appear in the global registry instead.
  if (isRegistry(options)) throw invalid("options", "an object", options, "a registry: pass { register }");
  if (!isRegistry(register)) throw invalid("register", "a registry of prom-client", register);
  const state = register.getSingleMetric(`${prefix}state`);
  const { metrics, stores } = (state && metricSets.get(state)) ?? define(register, prefix);
  if (stores.has(name)) throw invalid("name", "one that no other collected store has", name);
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
  const names = [...STATS.map(({ metric }) => metric), "state"].map((name) => prefix + name);
  const taken = names.find((name) => register.getSingleMetric(name));
  if (taken !== undefined)
    throw invalid("prefix", `one for which the metric name "${taken}" is free`, prefix);
  const stores: MetricSet["stores"] = new Map();
  const metrics = new Map<string, Counter | Gauge>();
  const registers = [register];
  for (const { kind, metric, help, read, divisor = 1, aggregator = "sum" } of STATS) {
    const common = { name: prefix + metric, help, labelNames: ["store"], registers };
    if (kind === "counter") {
      const collect = (counter: Counter) => {
        for (const [label, { store, seen }] of stores) {
          const now = read(store) ?? 0;
          const before = seen.get(metric) ?? 0;
          counter.inc({ store: label }, now < before ? now : now - before);
          seen.set(metric, now);
        }
      };
      metrics.set(common.name, new Counter({ ...common, collect: collectWith(collect) }));
    } else {
      const collect = (gauge: Gauge) => {
        gauge.reset();
        for (const [label, { store }] of stores) {
          const now = read(store);
          // Absent while unknown: 0 would be a claim.
          if (now !== null) gauge.set({ store: label }, now / divisor);
        }
      };
      metrics.set(common.name, new Gauge({ ...common, aggregator, collect: collectWith(collect) }));
    }
  }
  const state: Gauge = new Gauge({
    name: `${prefix}state`,
    help: "1 for the store's current state, 0 for the others",
    labelNames: ["store", "state"],
    registers,
    collect: () => {
      state.reset();
      for (const [label, { store }] of stores) {
        const current = store.clusterStats.state;
        for (const each of STATES) state.set({ store: label, state: each }, each === current ? 1 : 0);
      }
    },
  });
  metrics.set(`${prefix}state`, state);
  const set = { metrics, stores };
  metricSets.set(state, set);
  return set;
}

/** prom-client passes the metric as `this`. */
function collectWith<T>(collect: (metric: T) => void): (this: T) => void {
  return function () {
    collect(this);
  };
}

function isRegistry(given: object): boolean {
  return typeof (given as Partial<Registry>).getSingleMetric === "function";
}

function invalid(option: string, expected: string, actual: unknown, got?: string): TypeError {
  return optionError(`collectStoreMetrics: ${option}`, expected, actual, got);
}
