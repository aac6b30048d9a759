import type { LocalCache } from "clustered-redis-store";

/** What all contenders can do. */
export interface Cache {
  get(key: string): unknown;
  set(key: string, value: object): void;
  /** The event loop starts a new turn: a time read in an earlier one no longer counts. */
  startTurn?(): void;
}

const TTL_MS = 30_000;

async function ourCache(max: number): Promise<LocalCache<object>> {
  const { LocalCache } = await import("clustered-redis-store");
  return new LocalCache<object>({ maxSize: max, ttlMs: TTL_MS, maxBytes: 2 ** 40 });
}

/** Only the process that measures a contender imports it. */
export const CACHES = {
  /**
   * As the store uses it: the store has already read the clock for its lease and passes the time. Here it is read once per
   * turn, which is what lru-cache does by itself for reads. "own clock" includes the cost of reading it every time.
   */
  ours: async (max: number): Promise<Cache> => {
    const cache = await ourCache(max);
    let now = performance.now();
    return {
      get: (key) => cache.get(key, now),
      set: (key, value) => cache.set(key, value, 1000, TTL_MS, now),
      startTurn: () => {
        now = performance.now();
      },
    };
  },
  "ours, own clock": async (max: number): Promise<Cache> => {
    const cache = await ourCache(max);
    return { get: (key) => cache.get(key), set: (key, value) => cache.set(key, value, 1000) };
  },
  "lru-cache": async (max: number): Promise<Cache> => {
    const { LRUCache } = await import("lru-cache");
    const cache = new LRUCache<string, object>({ max, ttl: TTL_MS });
    return { get: (key) => cache.get(key), set: (key, value) => void cache.set(key, value) };
  },
  "lru-cache, exact": async (max: number): Promise<Cache> => {
    const { LRUCache } = await import("lru-cache");
    const cache = new LRUCache<string, object>({ max, ttl: TTL_MS, ttlResolution: 0 });
    return { get: (key) => cache.get(key), set: (key, value) => void cache.set(key, value) };
  },
  "tiny-lru": async (max: number): Promise<Cache> => {
    const { lru } = await import("tiny-lru");
    const cache = lru<object>(max, TTL_MS, true);
    return { get: (key) => cache.get(key), set: (key, value) => void cache.set(key, value) };
  },
  "quick-lru": async (max: number): Promise<Cache> => {
    const { default: QuickLRU } = await import("quick-lru");
    const cache = new QuickLRU<string, object>({ maxSize: max, maxAge: TTL_MS });
    return { get: (key) => cache.get(key), set: (key, value) => void cache.set(key, value) };
  },
  "mnemonist (no ttl)": async (max: number): Promise<Cache> => {
    const { LRUMap } = await import("mnemonist");
    const cache = new LRUMap<string, object>(max);
    return { get: (key) => cache.get(key), set: (key, value) => void cache.set(key, value) };
  },
};

export type CacheName = keyof typeof CACHES;

export const CACHE_NAMES: readonly CacheName[] = Object.keys(CACHES) as CacheName[];

/** `evict`: a new key for a full cache. `zipf`: reads by popularity out of four times what fits, with a set on a miss. */
export const CACHE_CASES = ["hit", "miss", "evict", "overwrite", "zipf", "bytes"] as const;

export type CacheCase = (typeof CACHE_CASES)[number];
