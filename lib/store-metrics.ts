import type { ClusteredRedisStore } from "./clustered-redis-store.ts";
import type { ClusterState } from "./reporting/types.ts";

/** What metrics are made of: any `ClusteredRedisStore`, from `import` or from `require`. */
export type MeteredStore = Pick<ClusteredRedisStore, "cacheStats" | "clusterStats">;

type Row<T> = readonly [name: string, help: string, read: (store: MeteredStore) => T];

/** What only grows. */
export const COUNTERS: readonly Row<number>[] = [
  ["cache_hits_total", "Reads answered from memory", ({ cacheStats }) => cacheStats.hits],
  ["cache_misses_total", "Reads of sessions not in memory", ({ cacheStats }) => cacheStats.misses],
  ["cache_evictions_total", "Live sessions removed to make room", ({ cacheStats }) => cacheStats.evictions],
  ["cache_flushes_total", "The whole cache was emptied", ({ clusterStats }) => clusterStats.flushes],
  ["fenced_fills_total", "Overtaken replies, not cached", ({ clusterStats }) => clusterStats.fencedFills],
  [
    "messages_published_total",
    "Messages sent with writes",
    ({ clusterStats }) => clusterStats.messagesPublished,
  ],
  [
    "messages_received_total",
    "Messages, own ones included",
    ({ clusterStats }) => clusterStats.messagesReceived,
  ],
  [
    "messages_ignored_total",
    "Messages that mean nothing here",
    ({ clusterStats }) => clusterStats.messagesIgnored,
  ],
  ["invalidations_total", "Messages that were obeyed", ({ clusterStats }) => clusterStats.invalidations],
  [
    "resurrections_total",
    "Saves of destroyed sessions, left out",
    ({ clusterStats }) => clusterStats.resurrections,
  ],
  ["conflicts_total", "Saves that another had come before", ({ clusterStats }) => clusterStats.conflicts],
  ["failed_touches_total", "Touches without an answer", ({ clusterStats }) => clusterStats.failedTouches],
];

/** What goes up and down. Null is left out: a gap in the graph says that nothing is known. */
export const GAUGES: readonly Row<number | null>[] = [
  ["cache_entries", "Sessions in memory", ({ cacheStats }) => cacheStats.size],
  ["cache_bytes", "Bytes of the sessions in memory", ({ cacheStats }) => cacheStats.bytes],
  [
    "lease_age_seconds",
    "Age of the newest heartbeat that came back",
    ({ clusterStats }) => seconds(clusterStats.leaseAgeMs),
  ],
];

/** The values of the label `state`. */
export const STATES: readonly ClusterState[] = ["off", "syncing", "live", "suspect"];

function seconds(ms: number | null): number | null {
  return ms === null ? null : ms / 1000;
}
