import { CACHE_STATS, countersOf, type StatsOf } from "../reporting/counters.ts";
import { END, EvictionOrder, grown } from "./eviction-order.ts";

/** Limits of a {@link LocalCache}. */
export interface LocalCacheLimits {
  /** Maximum time for which an entry is served, in milliseconds. @default 30_000 */
  readonly ttlMs?: number | undefined;
  /** Maximum number of entries. @default 10_000 */
  readonly maxSize?: number | undefined;
  /** Maximum number of bytes, as counted by the callers of {@link LocalCache.set}. @default 67_108_864 (64 MiB) */
  readonly maxBytes?: number | undefined;
  /** Maximum number of bytes of one entry. A larger one is not stored. @default maxBytes */
  readonly maxEntryBytes?: number | undefined;
  /** A clock in milliseconds that never goes backwards. @default performance.now */
  readonly clock?: (() => number) | undefined;
}

/** Counters of a {@link LocalCache} since its creation or the last reset, and its current contents. */
export interface LocalCacheStats extends StatsOf<typeof CACHE_STATS> {
  /** hits / (hits + misses); 0 before the first read. */
  readonly hitRate: number;
}

/** The limits of a cache that is given none; the store's option `localCache` has the same. */
export const DEFAULT_LIMITS = { ttlMs: 30_000, maxSize: 10_000, maxBytes: 67_108_864 } as const;

/** Expiries are 32-bit offsets from the last clear: one half for the time since then, the other for the longest ttl. */
const MAX_MS = 2 ** 31 - 1;
/** A Map holds no more. */
export const MAX_ENTRIES: number = 2 ** 24;
/** Sizes are 32-bit numbers. */
const MAX_ENTRY_BYTES = 2 ** 32 - 1;

/**
 * A least-recently-used cache with a time to live and a limit on bytes.
 *
 * Reading, writing, deleting and evicting take constant time. Only if entries have different times to live, an entry that
 * expires before one written earlier costs O(log n), where n is the number of such entries. When the cache is full, expired
 * entries are removed before any other, without a scan.
 *
 * Entries are kept in numbered slots: a Map from key to slot and typed arrays for the rest take half the memory of one
 * object per entry.
 */
export class LocalCache<V> {
  readonly #ttlMs: number;
  readonly #maxSize: number;
  readonly #maxBytes: number;
  readonly #maxEntryBytes: number;
  readonly #clock: () => number;

  readonly #slots = new Map<string, number>();
  #keys: string[] = [""];
  #values: (V | undefined)[] = [undefined];
  #sizes = new Uint32Array(1);
  readonly #order: EvictionOrder;
  readonly #freeSlots: number[] = [];
  /** Slots from this one on have never been used. */
  #unusedSlot = 1;
  /** The time that expiries are counted from. */
  #origin: number;

  #bytes = 0;
  #counters = countersOf(CACHE_STATS);

  /** @throws TypeError if a limit is not a finite positive number (`maxSize`: a whole number up to 16,777,216). */
  constructor(limits: LocalCacheLimits = {}) {
    this.#ttlMs = Math.min(positive("ttlMs", limits.ttlMs ?? DEFAULT_LIMITS.ttlMs), MAX_MS);
    this.#maxSize = positive("maxSize", limits.maxSize ?? DEFAULT_LIMITS.maxSize);
    this.#maxBytes = positive("maxBytes", limits.maxBytes ?? DEFAULT_LIMITS.maxBytes);
    const maxEntryBytes = positive("maxEntryBytes", limits.maxEntryBytes ?? this.#maxBytes);
    this.#maxEntryBytes = Math.min(maxEntryBytes, this.#maxBytes, MAX_ENTRY_BYTES);
    if (!Number.isInteger(this.#maxSize) || this.#maxSize > MAX_ENTRIES) {
      throw new TypeError(
        `LocalCache: maxSize: expected a whole number up to ${MAX_ENTRIES}, got ${this.#maxSize}`,
      );
    }
    this.#clock = limits.clock ?? (() => performance.now());
    this.#origin = Math.floor(this.#clock());
    this.#order = new EvictionOrder(this.#maxSize + 1);
  }

  /** Number of entries, including expired ones that have not been removed yet. */
  get size(): number {
    return this.#slots.size;
  }

  /** Number of bytes, as counted by the callers of {@link set}. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Counters and current contents. */
  get stats(): LocalCacheStats {
    const { hits, misses } = this.#counters;
    const hitRate = hits === 0 ? 0 : hits / (hits + misses);
    return { ...this.#counters, size: this.size, bytes: this.#bytes, hitRate };
  }

  /** Sets hits, misses and evictions to 0. */
  resetStats(): void {
    this.#counters = countersOf(CACHE_STATS);
  }

  /**
   * Returns the unexpired value of `key` and makes it the most recently used. Counts a hit or a miss.
   * @param now the clock's time, if the caller has just read it
   */
  get(key: string, now?: number): V | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) {
      this.#counters.misses++;
      return undefined;
    }
    if (!this.#isUnexpired(slot, now ?? this.#clock())) {
      this.#remove(slot);
      this.#counters.misses++;
      return undefined;
    }
    this.#counters.hits++;
    this.#order.use(slot);
    return this.#values[slot];
  }

  /** Returns the unexpired value of `key`. Neither counts nor changes the order of use. */
  peek(key: string, now: number = this.#clock()): V | undefined {
    const slot = this.#slots.get(key);
    return slot !== undefined && this.#isUnexpired(slot, now) ? this.#values[slot] : undefined;
  }

  /**
   * Stores `value` under `key` and drops the previous value. Makes room as needed: removes expired entries first, then the
   * least recently used. A value that is larger than `maxEntryBytes` or already expired is not stored.
   * @param bytes the entry's size, counted against `maxBytes`; a whole number from 0. @default 0
   * @param ttlMs maximum time for which the entry is served, in milliseconds. The cache's `ttlMs` is the default and the
   * upper limit.
   * @param now the clock's time, if the caller has just read it
   */
  set(key: string, value: V, bytes = 0, ttlMs: number = this.#ttlMs, now: number = this.#clock()): void {
    if (now - this.#origin > MAX_MS) this.clear();
    const current = this.#slots.get(key);
    const elapsed = now - this.#origin;
    // Rounded down: an entry may expire a fraction of a millisecond early, never late.
    const expiry = Math.floor(elapsed + Math.min(ttlMs, this.#ttlMs));
    // `now` lies before the origin if the caller read it before a clear.
    if (bytes > this.#maxEntryBytes || !(expiry > Math.max(elapsed, 0))) {
      if (current !== undefined) this.#remove(current);
      return;
    }
    const slot = current ?? this.#takeSlot(key, elapsed);
    this.#bytes += bytes - (this.#sizes[slot] as number);
    this.#sizes[slot] = bytes;
    this.#values[slot] = value;
    if (current !== undefined) this.#order.remove(slot);
    this.#order.add(slot, expiry);
    this.#makeRoom(elapsed);
  }

  /** Changes the size that an entry is counted with. Makes room as `set` does, and drops the entry if it is too large. */
  resize(key: string, bytes: number): void {
    const slot = this.#slots.get(key);
    if (slot === undefined) return;
    if (bytes > this.#maxEntryBytes) {
      this.#remove(slot);
      return;
    }
    this.#bytes += bytes - (this.#sizes[slot] as number);
    this.#sizes[slot] = bytes;
    this.#makeRoom(this.#clock() - this.#origin);
  }

  /** Drops `key`. @returns whether it had an unexpired value */
  delete(key: string): boolean {
    const slot = this.#slots.get(key);
    if (slot === undefined) return false;
    const isUnexpired = this.#isUnexpired(slot, this.#clock());
    this.#remove(slot);
    return isUnexpired;
  }

  /** Drops every entry and keeps the counters. */
  clear(): void {
    this.#slots.clear();
    this.#keys.fill("");
    this.#values.fill(undefined);
    this.#sizes.fill(0);
    this.#order.clear();
    this.#freeSlots.length = 0;
    this.#unusedSlot = 1;
    this.#bytes = 0;
    this.#origin = Math.floor(this.#clock());
  }

  /** Iterates over the unexpired entries in no particular order. Entries written or deleted meanwhile may or may not appear. */
  *entries(): Generator<[key: string, value: V]> {
    const now = this.#clock();
    for (const [key, slot] of this.#slots) {
      if (this.#isUnexpired(slot, now)) yield [key, this.#values[slot] as V];
    }
  }

  #isUnexpired(slot: number, now: number): boolean {
    return now - this.#origin < this.#order.expiryOf(slot);
  }

  /** Assigns a slot to a new key: a free one or, if the cache is full, an evicted one. */
  #takeSlot(key: string, elapsed: number): number {
    let slot: number;
    if (this.#slots.size >= this.#maxSize) {
      slot = this.#slotToEvict(elapsed);
      this.#detach(slot);
    } else slot = this.#freeSlots.pop() ?? this.#unusedSlot++;
    if (slot === this.#sizes.length) this.#grow();
    this.#keys[slot] = key;
    this.#slots.set(key, slot);
    return slot;
  }

  #makeRoom(elapsed: number): void {
    while (this.#bytes > this.#maxBytes) this.#remove(this.#slotToEvict(elapsed));
  }

  /** That of an expired entry or else of the least recently used. */
  #slotToEvict(elapsed: number): number {
    const expired = this.#order.findExpired(elapsed);
    if (expired !== END) return expired;
    this.#counters.evictions++;
    return this.#order.leastRecentlyUsed;
  }

  #remove(slot: number): void {
    this.#detach(slot);
    this.#keys[slot] = "";
    this.#values[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  /** Removes an entry from everything but `#keys` and `#values`, which the caller overwrites. */
  #detach(slot: number): void {
    this.#slots.delete(this.#keys[slot] as string);
    this.#order.remove(slot);
    this.#bytes -= this.#sizes[slot] as number;
    this.#sizes[slot] = 0;
  }

  #grow(): void {
    const capacity = Math.min(this.#sizes.length * 2, this.#maxSize + 1);
    const more = capacity - this.#sizes.length;
    this.#keys = this.#keys.concat(new Array<string>(more).fill(""));
    this.#values = this.#values.concat(new Array<undefined>(more).fill(undefined));
    this.#sizes = grown(this.#sizes, capacity);
    this.#order.grow(capacity);
  }
}

function positive(name: string, value: number): number {
  if (typeof value === "number" && value > 0 && Number.isFinite(value)) return value;
  throw new TypeError(`LocalCache: ${name}: expected a finite positive number, got ${String(value)}`);
}
