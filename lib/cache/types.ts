import type { FillToken } from "./fill-fence.ts";

/** What the near cache requires of a value. */
export interface Cacheable {
  /** When its key expires, by `performance.now()`; undefined for never. */
  expiresAt: number | undefined;
  /** What it counts against `maxBytes`, without its id. */
  readonly bytes: number;
  /** The sequence number of this process's write that stored it; undefined if it was read. */
  writtenBy?: number | undefined;
}

/** A local write that is pending, from its call to its outcome. */
export interface PendingWrite {
  readonly sids: readonly string[];
  /** Its message's sequence number, as soon as there is one. */
  sequence: number | undefined;
  /**
   * Taken at the call; taken again when the write's own message arrives. Undefined while the cache was not usable, or if later
   * writes might not be noticed: then it stays so.
   */
  token: FillToken | undefined;
  /** Its own message has arrived: the messages before it are about older writes, those after it about newer ones. */
  isPositioned: boolean;
  /** A read of the session was answered meanwhile. */
  isOvertaken: boolean;
  /** Called as soon as Redis is known to have executed it, or its outcome is known. */
  onExecuted: (() => void)[] | undefined;
}

/** A pending change of nothing but a session's expiry. */
export interface PendingTouch {
  readonly sid: string;
  readonly expiresAt: number;
  readonly token: FillToken | undefined;
}

/** Reads a session from Redis. @param mayFill whether the reply may be cached */
export type Fetch<V> = (mayFill: boolean) => Promise<V | undefined>;

/** Decides whether the cache may be read and filled. */
export interface CacheGate {
  /** @param now a time of performance.now() */
  isLive(now: number): boolean;
}

/** The gate of a cache that is not used. */
export const NEVER_LIVE: CacheGate = { isLive: () => false };

/** The gate of a cache that nothing invalidates from outside. */
export const ALWAYS_LIVE: CacheGate = { isLive: () => true };
