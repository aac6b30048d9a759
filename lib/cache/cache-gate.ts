/** Decides whether the cache may be read and filled. */
export interface CacheGate {
  /** @param now a time of performance.now() */
  isLive(now: number): boolean;
}

/** The gate of a cache that is not used. */
export const NEVER_LIVE: CacheGate = { isLive: () => false };

/** The gate of a cache that nothing invalidates from outside. */
export const ALWAYS_LIVE: CacheGate = { isLive: () => true };
