import { CACHE_STATS, countersOf, type StatsOf } from "../reporting/counters.ts";
import { ExpiryWheel } from "./expiry-wheel.ts";

/** What a {@link LocalCache} may hold, and for how long. */
export interface LocalCacheLimits {
  /** The longest time an entry is served, in milliseconds. @default 30_000 */
  readonly ttlMs?: number;
  /** The most entries held. @default 10_000 */
  readonly maxSize?: number;
  /** The most bytes held, counted as the callers of {@link LocalCache.set} give them. @default 67_108_864 (64 MiB) */
  readonly maxBytes?: number;
  /** A clock in milliseconds that never goes backwards. @default performance.now */
  readonly clock?: () => number;
}

/** Counters of a {@link LocalCache} since its start or the last reset, and what it holds now. */
export interface LocalCacheStats extends StatsOf<typeof CACHE_STATS> {
  /** hits / (hits + misses); 0 before the first read. */
  readonly hitRate: number;
}

/** The limits of a cache that is given none; the store's option `localCache` has the same. */
export const DEFAULT_LIMITS = { ttlMs: 30_000, maxSize: 10_000, maxBytes: 67_108_864 } as const;

const OLDEST_AND_NEWEST = 0;
const FIRST_ROOM = 64;
/** Deadlines are counted from the last clear, in 32 bits; half of that is as far as time and the longest ttl may each go. */
const HALF_MS = 2 ** 31 - 1;
/** More than that a Map does not take. */
const MOST_ENTRIES = 2 ** 24;
/** Sizes are kept in 32 bits. */
const LARGEST = 2 ** 32 - 1;

/**
 * A least-recently-used cache with a time to live and a bound on bytes.
 *
 * Reading, writing, deleting and evicting each take constant time. When it is full, an entry that has expired goes
 * before any live one, found by a timing wheel instead of a scan.
 *
 * Entries stand in slots: a Map from key to slot number and typed arrays for everything else, which is half the memory
 * of an object for each entry. Slot 0 is no entry but the ends of the recency list.
 */
export class LocalCache<V> {
  readonly #ttlMs: number;
  readonly #maxSize: number;
  readonly #maxBytes: number;
  readonly #largest: number;
  readonly #clock: () => number;

  readonly #slots = new Map<string, number>();
  #keys: string[] = new Array<string>(FIRST_ROOM).fill("");
  #values: (V | undefined)[] = new Array<V | undefined>(FIRST_ROOM).fill(undefined);
  /** Slots from here on have not been used yet. */
  #fresh = 1;
  readonly #freeSlots: number[] = [];
  readonly #wheel: ExpiryWheel;
  /** The time that deadlines are counted from. */
  #origin: number;
  #sizes = new Uint32Array(FIRST_ROOM);
  /** For each slot the next newer one, and the next older one. */
  #links: Uint16Array | Uint32Array;

  #bytes = 0;
  #counters = countersOf(CACHE_STATS);

  /** @throws TypeError when a limit is not a positive number (`maxSize`: a whole one, up to 16,777,216). */
  constructor(limits: LocalCacheLimits = {}) {
    this.#ttlMs = Math.min(positive("ttlMs", limits.ttlMs ?? DEFAULT_LIMITS.ttlMs), HALF_MS);
    this.#maxSize = positive("maxSize", limits.maxSize ?? DEFAULT_LIMITS.maxSize);
    this.#maxBytes = positive("maxBytes", limits.maxBytes ?? DEFAULT_LIMITS.maxBytes);
    if (!Number.isInteger(this.#maxSize) || this.#maxSize > MOST_ENTRIES) {
      throw new TypeError(
        `LocalCache: maxSize: expected a whole number up to ${MOST_ENTRIES}, got ${this.#maxSize}`,
      );
    }
    this.#largest = Math.min(this.#maxBytes, LARGEST);
    this.#clock = limits.clock ?? (() => performance.now());
    this.#origin = Math.floor(this.#clock());
    this.#links = new (this.#maxSize < 2 ** 16 ? Uint16Array : Uint32Array)(2 * FIRST_ROOM);
    this.#wheel = new ExpiryWheel(this.#ttlMs, 0, FIRST_ROOM, this.#maxSize + 1);
  }

  /** Entries held, expired ones that nobody has met yet included. */
  get size(): number {
    return this.#slots.size;
  }

  /** Bytes held, as counted by the callers of {@link set}. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The counters, and what is held now. */
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
   * The live value of `key`, which becomes the most recently used; counted as a hit or a miss.
   * @param now the clock's time, for a caller that has just read it
   */
  get(key: string, now: number = this.#clock()): V | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) {
      this.#counters.misses++;
      return undefined;
    }
    if (!this.#isLive(slot, now)) {
      this.#remove(key, slot);
      this.#counters.misses++;
      return undefined;
    }
    this.#counters.hits++;
    this.#moveToNewest(slot);
    return this.#values[slot];
  }

  /** The live value of `key`, without counting it or making it recent. */
  peek(key: string, now: number = this.#clock()): V | undefined {
    const slot = this.#slots.get(key);
    return slot !== undefined && this.#isLive(slot, now) ? this.#values[slot] : undefined;
  }

  /**
   * Holds `value` under `key`, in the place of what was there. Makes room as needed: expired entries go first, then the
   * least recently used. A value that could never fit, or whose time is already over, is not held, and neither is what
   * was there before.
   * @param bytes what the entry counts against `maxBytes`; a whole number, 0 or more. @default 0
   * @param ttlMs how long it may be served, in milliseconds; never longer than the cache's own `ttlMs`, its default.
   * @param now the clock's time, for a caller that has just read it
   */
  set(key: string, value: V, bytes = 0, ttlMs: number = this.#ttlMs, now: number = this.#clock()): void {
    if (now - this.#origin > HALF_MS) this.clear();
    const held = this.#slots.get(key);
    const sinceOrigin = now - this.#origin;
    // Whole milliseconds, rounded down: an entry may end a moment early, never late.
    const deadline = Math.floor(sinceOrigin + Math.min(ttlMs, this.#ttlMs));
    if (bytes > this.#largest || !(deadline > sinceOrigin)) {
      if (held !== undefined) this.#remove(key, held);
      return;
    }
    this.#wheel.advance(Math.floor(sinceOrigin));
    const slot = held ?? this.#take(key);
    this.#bytes += bytes - (this.#sizes[slot] as number);
    this.#sizes[slot] = bytes;
    this.#values[slot] = value;
    if (held === undefined) {
      this.#linkAsNewest(slot);
    } else {
      this.#wheel.cancel(slot);
      this.#moveToNewest(slot);
    }
    this.#wheel.schedule(slot, deadline);
    while (this.#bytes > this.#maxBytes) this.#free(this.#evict());
  }

  /** Forgets `key`. @returns whether it was held and live */
  delete(key: string): boolean {
    const slot = this.#slots.get(key);
    if (slot === undefined) return false;
    const live = this.#isLive(slot, this.#clock());
    this.#remove(key, slot);
    return live;
  }

  /** Forgets everything; the counters stay. */
  clear(): void {
    this.#slots.clear();
    this.#keys.fill("");
    this.#values.fill(undefined);
    this.#fresh = 1;
    this.#freeSlots.length = 0;
    this.#links[2 * OLDEST_AND_NEWEST] = OLDEST_AND_NEWEST;
    this.#links[2 * OLDEST_AND_NEWEST + 1] = OLDEST_AND_NEWEST;
    this.#sizes.fill(0);
    this.#bytes = 0;
    this.#origin = Math.floor(this.#clock());
    this.#wheel.reset(0);
  }

  /** The live entries, in no particular order. Entries written or deleted meanwhile may or may not be among them. */
  *entries(): Generator<[key: string, value: V]> {
    const now = this.#clock();
    for (const [key, slot] of this.#slots) {
      if (this.#isLive(slot, now)) yield [key, this.#values[slot] as V];
    }
  }

  #isLive(slot: number, now: number): boolean {
    return now - this.#origin < this.#wheel.deadlineOf(slot);
  }

  /** A slot for a new key: a free one, or a victim's. */
  #take(key: string): number {
    const slot = this.#slots.size >= this.#maxSize ? this.#evict() : (this.#freeSlots.pop() ?? this.#fresh++);
    if (slot === this.#sizes.length) this.#grow();
    this.#keys[slot] = key;
    this.#slots.set(key, slot);
    return slot;
  }

  /** @returns the slot that has become free; it is not among the free slots */
  #evict(): number {
    const expired = this.#wheel.firstExpired();
    const victim = expired ?? (this.#links[2 * OLDEST_AND_NEWEST] as number);
    if (expired === undefined) this.#counters.evictions++;
    this.#takeOut(this.#keys[victim] as string, victim);
    return victim;
  }

  #remove(key: string, slot: number): void {
    this.#takeOut(key, slot);
    this.#free(slot);
  }

  /** Takes an entry off every list, and leaves its key and value to whoever gets the slot. */
  #takeOut(key: string, slot: number): void {
    this.#slots.delete(key);
    this.#wheel.cancel(slot);
    this.#unlink(slot);
    this.#bytes -= this.#sizes[slot] as number;
    this.#sizes[slot] = 0;
  }

  #free(slot: number): void {
    this.#keys[slot] = "";
    this.#values[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  #moveToNewest(slot: number): void {
    if (this.#links[2 * OLDEST_AND_NEWEST + 1] === slot) return;
    this.#unlink(slot);
    this.#linkAsNewest(slot);
  }

  #unlink(slot: number): void {
    const links = this.#links;
    const newer = links[2 * slot] as number;
    const older = links[2 * slot + 1] as number;
    links[2 * older] = newer;
    links[2 * newer + 1] = older;
  }

  #linkAsNewest(slot: number): void {
    const links = this.#links;
    const newest = links[2 * OLDEST_AND_NEWEST + 1] as number;
    links[2 * newest] = slot;
    links[2 * slot + 1] = newest;
    links[2 * slot] = OLDEST_AND_NEWEST;
    links[2 * OLDEST_AND_NEWEST + 1] = slot;
  }

  #grow(): void {
    const room = Math.min(this.#sizes.length * 2, this.#maxSize + 1);
    const more = room - this.#sizes.length;
    this.#keys = this.#keys.concat(new Array<string>(more).fill(""));
    this.#values = this.#values.concat(new Array<undefined>(more).fill(undefined));
    this.#sizes = grown(this.#sizes, new Uint32Array(room));
    const Links = this.#links.constructor as Uint32ArrayConstructor;
    this.#links = grown(this.#links, new Links(2 * room));
    this.#wheel.grow(room);
  }
}

function grown<A extends Uint16Array | Uint32Array>(from: A, into: A): A {
  into.set(from);
  return into;
}

function positive(name: string, value: number): number {
  if (typeof value === "number" && value > 0 && Number.isFinite(value)) return value;
  throw new TypeError(`LocalCache: ${name}: expected a finite positive number, got ${String(value)}`);
}
