/**
 * Metrics of a store for OpenTelemetry.
 * @module clustered-redis-store/opentelemetry
 */
import type { BatchObservableResult, Meter, Observable } from "@opentelemetry/api";
import { optionError } from "./reporting/errors.ts";
import { type MeteredStore, STATES, STATS } from "./reporting/readable-stats.ts";

export type { MeteredStore } from "./reporting/readable-stats.ts";

/** Where the metrics go, and what distinguishes the stores of one process. */
export interface ObserveStoreOptions {
  /** A meter of OpenTelemetry's API: `metrics.getMeter("clustered-redis-store")`. */
  readonly meter: Meter;
  /** The value of the attribute `clustered_redis_store.name`. @default "default" */
  readonly name?: string | undefined;
}

const PREFIX = "clustered_redis_store.";

/**
 * Exports a store's stats as metrics: those of the Prometheus entry, with names and units of OpenTelemetry's conventions. They
 * are read when the SDK collects: they cost requests nothing, and a collection sends nothing to Redis. Neither a name nor an
 * attribute contains an id.
 *
 * Counters never decrease: they continue after `resetCacheStats`.
 *
 * @returns a function that stops reading the store. With cumulative temporality the SDK then repeats the last figures.
 * @throws TypeError when `store` is not a store, `meter` not a meter, or `name` empty
 *
 * @example
 * const stop = observeStore(store, { meter: metrics.getMeter("clustered-redis-store") });
 */
export function observeStore(
  store: MeteredStore,
  { meter, name = "default" }: ObserveStoreOptions,
): () => void {
  if (!store?.cacheStats || !store.clusterStats) throw invalid("store", "a ClusteredRedisStore", store);
  if (typeof meter?.addBatchObservableCallback !== "function") throw invalid("meter", "a Meter", meter);
  if (typeof name !== "string" || name === "") throw invalid("name", "a string that is not empty", name);
  const attributes = { [`${PREFIX}name`]: name };
  const observed = STATS.map(({ kind, otel, help, nullable, divisor = 1, read }) => {
    const options = { description: help, unit: otel.unit };
    const metric = PREFIX + otel.name;
    if (kind === "counter") {
      return {
        instrument: meter.createObservableCounter(metric, options),
        value: growing(() => read(store) ?? 0),
      };
    }
    // What adds up over processes is an up-down counter; an age does not.
    const instrument = nullable
      ? meter.createObservableGauge(metric, options)
      : meter.createObservableUpDownCounter(metric, options);
    const value = () => {
      const now = read(store);
      return now === null ? null : now / divisor;
    };
    return { instrument, value };
  });
  const state = meter.createObservableUpDownCounter(`${PREFIX}state`, {
    description: "1 for the store's current state, 0 for the others",
    unit: "1",
  });
  const observe = (result: BatchObservableResult) => {
    for (const { instrument, value } of observed) {
      const now = value();
      // Absent while unknown: 0 would be a claim.
      if (now !== null) result.observe(instrument, now, attributes);
    }
    const current = store.clusterStats.state;
    for (const each of STATES) {
      result.observe(state, each === current ? 1 : 0, { ...attributes, [`${PREFIX}state`]: each });
    }
  };
  const instruments: Observable[] = [...observed.map(({ instrument }) => instrument), state];
  meter.addBatchObservableCallback(observe, instruments);
  return () => meter.removeBatchObservableCallback(observe, instruments);
}

/** A counter that goes on when its source starts again from 0. */
function growing(read: () => number): () => number {
  let total = 0;
  let seen = 0;
  return () => {
    const now = read();
    total += now < seen ? now : now - seen;
    seen = now;
    return total;
  };
}

function invalid(option: string, expected: string, actual: unknown): TypeError {
  return optionError(`observeStore: ${option}`, expected, actual);
}
