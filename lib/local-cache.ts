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
export interface LocalCacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Live entries removed to make room for others; an entry that had expired is not counted. */
  readonly evictions: number;
  /** Entries held now, expired ones that nobody has met yet included. */
  readonly size: number;
  /** Bytes held now. */
  readonly bytes: number;
  /** hits / (hits + misses); 0 before the first read. */
  readonly hitRate: number;
}

const OLDEST_AND_NEWEST = 0;
const FIRST_ROOM = 64;
/** For all limits: 24 days, or as many entries as 32 bits count, or what no process has. */
const MOST = 2 ** 40;

/**
 * A least-recently-used cache with a time to live and a bound on bytes.
 *
 * Reading, writing, deleting and evicting each take constant time. When it is full, an entry that has expired goes
 * before any live one, found by an {@link ExpiryWheel} instead of a scan.
 *
 * Entries stand in slots: a Map from key to slot number and typed arrays for everything else, which is half the memory
 * of an object for each entry. Slot 0 is no entry but the ends of the recency list.
 */
export class LocalCache<V> {
  readonly #ttlMs: number;
  readonly #maxSize: number;
  readonly #maxBytes: number;
  readonly #clock: () => number;

  readonly #slots = new Map<string, number>();
  readonly #keys: string[] = [""];
  readonly #values: (V | undefined)[] = [undefined];
  readonly #freeSlots: number[] = [];
  readonly #wheel: ExpiryWheel;
  #deadlines = new Float64Array(FIRST_ROOM);
  #sizes = new Float64Array(FIRST_ROOM);
  #newer = new Uint32Array(FIRST_ROOM);
  #older = new Uint32Array(FIRST_ROOM);

  #bytes = 0;
  #hits = 0;
  #misses = 0;
  #evictions = 0;

  /** @throws TypeError when a limit is not a positive number (`maxSize`: a whole one). */
  constructor(limits: LocalCacheLimits = {}) {
    this.#ttlMs = positive("ttlMs", limits.ttlMs ?? 30_000);
    this.#maxSize = positive("maxSize", limits.maxSize ?? 10_000);
    this.#maxBytes = positive("maxBytes", limits.maxBytes ?? 64 * 1024 * 1024);
    if (!Number.isInteger(this.#maxSize)) {
      throw new TypeError(`LocalCache: maxSize: expected a whole number, got ${this.#maxSize}`);
    }
    this.#clock = limits.clock ?? (() => performance.now());
    this.#wheel = new ExpiryWheel(this.#ttlMs, Math.floor(this.#clock()), FIRST_ROOM);
  }

  /** Entries held, expired ones that nobody has met yet included. */
  get size(): number {
    return this.#slots.size;
  }

  /** Bytes held, as counted by the callers of {@link set}. */
  get bytes(): number {
    return this.#bytes;
  }

  get stats(): LocalCacheStats {
    const reads = this.#hits + this.#misses;
    return {
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
      size: this.size,
      bytes: this.#bytes,
      hitRate: reads === 0 ? 0 : this.#hits / reads,
    };
  }

  resetStats(): void {
    this.#hits = 0;
    this.#misses = 0;
    this.#evictions = 0;
  }

  /**
   * The live value of `key`, which becomes the most recently used; counted as a hit or a miss.
   * @param now the clock's time, for a caller that has just read it
   */
  get(key: string, now: number = this.#clock()): V | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) {
      this.#misses++;
      return undefined;
    }
    if (now >= (this.#deadlines[slot] as number)) {
      this.#remove(key, slot);
      this.#misses++;
      return undefined;
    }
    this.#hits++;
    this.#moveToNewest(slot);
    return this.#values[slot];
  }

  /** The live value of `key`, without counting it or making it recent. */
  peek(key: string, now: number = this.#clock()): V | undefined {
    const slot = this.#slots.get(key);
    return slot !== undefined && now < (this.#deadlines[slot] as number) ? this.#values[slot] : undefined;
  }

  /**
   * Holds `value` under `key`, in the place of what was there. Makes room as needed: expired entries go first, then the
   * least recently used. A value that could never fit, or whose time is already over, is not held, and neither is what
   * was there before.
   * @param bytes what the entry counts against `maxBytes`; 0 or more. @default 0
   * @param ttlMs how long it may be served, in milliseconds; never longer than the cache's own `ttlMs`, its default.
   */
  set(key: string, value: V, bytes = 0, ttlMs: number = this.#ttlMs): void {
    const now = this.#clock();
    const held = this.#slots.get(key);
    // Whole milliseconds, rounded down: an entry may end a moment early, never late.
    const deadline = Math.floor(now + Math.min(ttlMs, this.#ttlMs));
    if (bytes > this.#maxBytes || !(deadline > now)) {
      if (held !== undefined) this.#remove(key, held);
      return;
    }
    this.#wheel.advance(Math.floor(now));
    const slot = held ?? this.#take(key);
    this.#bytes += bytes - (this.#sizes[slot] as number);
    this.#sizes[slot] = bytes;
    this.#values[slot] = value;
    this.#deadlines[slot] = deadline;
    if (held !== undefined) {
      this.#wheel.cancel(slot);
      this.#unlink(slot);
    }
    this.#wheel.schedule(slot, deadline);
    this.#linkAsNewest(slot);
    while (this.#bytes > this.#maxBytes) this.#evict();
  }

  /** Forgets `key`. @returns whether it was held and live */
  delete(key: string): boolean {
    const slot = this.#slots.get(key);
    if (slot === undefined) return false;
    const live = this.#clock() < (this.#deadlines[slot] as number);
    this.#remove(key, slot);
    return live;
  }

  /** Forgets everything; the counters stay. */
  clear(): void {
    this.#slots.clear();
    this.#keys.length = 1;
    this.#values.length = 1;
    this.#freeSlots.length = 0;
    this.#newer[OLDEST_AND_NEWEST] = OLDEST_AND_NEWEST;
    this.#older[OLDEST_AND_NEWEST] = OLDEST_AND_NEWEST;
    this.#sizes.fill(0);
    this.#bytes = 0;
    this.#wheel.reset(Math.floor(this.#clock()));
  }

  /** The live entries, in no particular order. Entries written or deleted meanwhile may or may not be among them. */
  *entries(): Generator<[key: string, value: V]> {
    const now = this.#clock();
    for (const [key, slot] of this.#slots) {
      if (now < (this.#deadlines[slot] as number)) yield [key, this.#values[slot] as V];
    }
  }

  /** A slot for a new key: a free one, or a victim's. */
  #take(key: string): number {
    if (this.#slots.size >= this.#maxSize) this.#evict();
    const slot = this.#freeSlots.pop() ?? this.#keys.length;
    if (slot === this.#deadlines.length) this.#grow();
    this.#keys[slot] = key;
    this.#slots.set(key, slot);
    return slot;
  }

  #evict(): void {
    const expired = this.#wheel.firstExpired();
    const victim = expired ?? (this.#newer[OLDEST_AND_NEWEST] as number);
    if (expired === undefined) this.#evictions++;
    this.#remove(this.#keys[victim] as string, victim);
  }

  #remove(key: string, slot: number): void {
    this.#slots.delete(key);
    this.#wheel.cancel(slot);
    this.#unlink(slot);
    this.#bytes -= this.#sizes[slot] as number;
    this.#sizes[slot] = 0;
    this.#keys[slot] = "";
    this.#values[slot] = undefined;
    this.#freeSlots.push(slot);
  }

  #moveToNewest(slot: number): void {
    if (this.#older[OLDEST_AND_NEWEST] === slot) return;
    this.#unlink(slot);
    this.#linkAsNewest(slot);
  }

  #unlink(slot: number): void {
    const older = this.#older[slot] as number;
    const newer = this.#newer[slot] as number;
    this.#newer[older] = newer;
    this.#older[newer] = older;
  }

  #linkAsNewest(slot: number): void {
    const newest = this.#older[OLDEST_AND_NEWEST] as number;
    this.#newer[newest] = slot;
    this.#older[slot] = newest;
    this.#newer[slot] = OLDEST_AND_NEWEST;
    this.#older[OLDEST_AND_NEWEST] = slot;
  }

  #grow(): void {
    const room = Math.min(this.#deadlines.length * 2, this.#maxSize + 1);
    this.#deadlines = grown(this.#deadlines, new Float64Array(room));
    this.#sizes = grown(this.#sizes, new Float64Array(room));
    this.#newer = grown(this.#newer, new Uint32Array(room));
    this.#older = grown(this.#older, new Uint32Array(room));
    this.#wheel.grow(room);
  }
}

function grown<A extends Float64Array | Uint32Array>(from: A, into: A): A {
  into.set(from);
  return into;
}

function positive(name: string, value: number): number {
  if (typeof value === "number" && value > 0 && value <= MOST) return value;
  throw new TypeError(
    `LocalCache: ${name}: expected ${MOST} or a smaller positive number, got ${String(value)}`,
  );
}
