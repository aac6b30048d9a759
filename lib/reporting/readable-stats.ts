import { CACHE_STATS, CLUSTER_STATS, type Stat, type StatsOf, type StatTable } from "./counters.ts";
import type { ClusterState, ClusterStats } from "./types.ts";

/** The part of a store that metrics are made of: any `ClusteredRedisStore`, from `import` or from `require`. */
export interface MeteredStore {
  /** Counters of the cache. */
  readonly cacheStats: StatsOf<typeof CACHE_STATS>;
  /** Counters since the start, and the present state. */
  readonly clusterStats: ClusterStats;
}

/** A stat, and how to read it from a store. */
type ReadableStat = Stat & { readonly read: (store: MeteredStore) => number | null };

function readableStats<T extends StatTable>(
  table: T,
  statsOf: (store: MeteredStore) => StatsOf<T>,
): ReadableStat[] {
  return Object.entries(table).map(([name, stat]) => ({
    ...stat,
    read: (store) => statsOf(store)[name as keyof T],
  }));
}

/** All stats of a store that are numbers. */
export const STATS: readonly ReadableStat[] = [
  ...readableStats(CACHE_STATS, ({ cacheStats }) => cacheStats),
  ...readableStats(CLUSTER_STATS, ({ clusterStats }) => clusterStats),
];

const EVERY_STATE: Readonly<Record<ClusterState, true>> = {
  off: true,
  syncing: true,
  live: true,
  suspect: true,
};

/** The values of `clusterStats.state`: of keys, so that the compiler rejects a missing one. */
export const STATES: readonly string[] = Object.keys(EVERY_STATE);
