import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LocalCache, type LocalCacheLimits } from "../../lib/cache/local-cache.ts";

/** A cache on a clock that moves only when the test moves it. */
function cacheOf<V = string>(limits: LocalCacheLimits = {}, start = 0) {
  const time = { now: start };
  const cache = new LocalCache<V>({ ttlMs: 1_000, clock: () => time.now, ...limits });
  return { cache, time };
}

const keysOf = (cache: LocalCache<unknown>) => [...cache.entries()].map(([key]) => key).sort();

describe("values", () => {
  test("a value is returned for its key", () => {
    const { cache } = cacheOf();
    cache.set("a", "A");
    cache.set("b", "B");
    expect([cache.get("a"), cache.get("b"), cache.get("c")]).toEqual(["A", "B", undefined]);
  });

  test("a second value replaces the first", () => {
    const { cache } = cacheOf();
    cache.set("a", "old", 10);
    cache.set("a", "new", 4);
    expect([cache.get("a"), cache.size, cache.bytes]).toEqual(["new", 1, 4]);
  });

  test("delete removes one key and returns whether it was there", () => {
    const { cache } = cacheOf();
    cache.set("a", "A", 3);
    cache.set("b", "B", 4);
    expect([cache.delete("a"), cache.delete("a")]).toEqual([true, false]);
    expect([cache.get("a"), cache.get("b"), cache.size, cache.bytes]).toEqual([undefined, "B", 1, 4]);
  });

  test("deleting an expired entry says that nothing was there", () => {
    const { cache, time } = cacheOf();
    cache.set("a", "A");
    time.now = 1_000;
    expect(cache.delete("a")).toBe(false);
    expect(cache.size).toBe(0);
  });

  test("clear removes everything and keeps the counters", () => {
    const { cache } = cacheOf({ maxSize: 2 });
    for (const key of ["a", "b", "c"]) cache.set(key, key, 5);
    cache.get("c");
    cache.get("a");
    cache.clear();
    expect(cache.stats).toMatchObject({ hits: 1, misses: 1, evictions: 1, size: 0, bytes: 0, hitRate: 0.5 });
    expect(keysOf(cache)).toEqual([]);
  });

  test("a cleared cache can be filled again, to its limits", () => {
    const { cache } = cacheOf({ maxSize: 2, maxBytes: 10 });
    for (const key of ["a", "b"]) cache.set(key, key, 5);
    cache.clear();
    for (const key of ["c", "d"]) cache.set(key, key, 5);
    expect([keysOf(cache), cache.bytes, cache.stats.evictions]).toEqual([["c", "d"], 10, 0]);
  });

  test("entries gives the live ones with their values", () => {
    const { cache, time } = cacheOf();
    cache.set("short", "S", 0, 10);
    cache.set("long", "L");
    time.now = 10;
    expect([...cache.entries()]).toEqual([["long", "L"]]);
  });

  test("a cache that was cleared after deletions can be filled again, to its limits", () => {
    const { cache } = cacheOf<number>({ maxSize: 63 });
    for (let i = 0; i < 63; i++) cache.set(`old${i}`, i);
    for (let i = 0; i < 63; i++) cache.delete(`old${i}`);
    cache.clear();
    for (let i = 0; i < 63; i++) cache.set(`new${i}`, i);
    for (let i = 0; i < 63; i++) expect(cache.get(`new${i}`)).toBe(i);
  });

  test("keys that are names of Object.prototype are keys like others", () => {
    const { cache } = cacheOf();
    for (const key of ["__proto__", "constructor", ""]) cache.set(key, `value of ${key}`);
    expect(cache.get("__proto__")).toBe("value of __proto__");
    expect(cache.get("")).toBe("value of ");
    expect(cache.get("toString")).toBeUndefined();
  });

  test("there is room for more than the first slots", () => {
    const { cache } = cacheOf<number>({ maxSize: 1_000 });
    for (let i = 0; i < 1_001; i++) cache.set(`k${i}`, i);
    expect(cache.get("k0")).toBeUndefined();
    for (let i = 1; i < 1_001; i++) expect(cache.get(`k${i}`)).toBe(i);
    expect([cache.size, cache.stats.evictions]).toEqual([1_000, 1]);
  });

  test.each([63, 64, 65, 127, 128, 129])("a cache of %i entries holds as many and no more", (maxSize) => {
    const { cache, time } = cacheOf<number>({ maxSize });
    for (let i = 0; i < 3 * maxSize; i++) cache.set(`k${i}`, i);
    expect(keysOf(cache)).toHaveLength(maxSize);
    expect(cache.get(`k${2 * maxSize - 1}`)).toBeUndefined();
    expect(cache.get(`k${2 * maxSize}`)).toBe(2 * maxSize);
    time.now = 1_000;
    expect(keysOf(cache)).toEqual([]);
  });

  test("the slots of deleted entries are used again", () => {
    const { cache } = cacheOf<number>({ maxSize: 64 });
    for (let i = 0; i < 10_000; i++) {
      cache.set(`k${i}`, i);
      expect(cache.delete(`k${i}`)).toBe(true);
    }
    expect(cache.stats).toMatchObject({ evictions: 0, size: 0 });
  });
});

describe("time to live", () => {
  test("an entry is served one millisecond before it expires and not when it expires", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 }, 500);
    cache.set("a", "A");
    time.now = 529;
    expect([cache.get("a"), cache.peek("a"), keysOf(cache)]).toEqual(["A", "A", ["a"]]);
    time.now = 530;
    expect([cache.peek("a"), keysOf(cache), cache.get("a")]).toEqual([undefined, [], undefined]);
  });

  test("an entry's own time may be shorter than the cache's", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 });
    cache.set("a", "A", 0, 5);
    time.now = 4;
    expect(cache.get("a")).toBe("A");
    time.now = 5;
    expect(cache.get("a")).toBeUndefined();
  });

  test("an entry's own time is never longer than the cache's", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 });
    cache.set("a", "A", 0, 1_000);
    time.now = 29;
    expect(cache.get("a")).toBe("A");
    time.now = 30;
    expect(cache.get("a")).toBeUndefined();
  });

  test("with a fraction of a millisecond an entry expires early, never late", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 }, 0.75);
    cache.set("a", "A");
    time.now = 29.75;
    expect(cache.get("a")).toBe("A");
    time.now = 30;
    expect(cache.get("a")).toBeUndefined();
  });

  test("writing again restarts the ttl", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 });
    cache.set("a", "A");
    time.now = 20;
    cache.set("a", "A");
    time.now = 49;
    expect(cache.get("a")).toBe("A");
    time.now = 50;
    expect(cache.get("a")).toBeUndefined();
  });

  test("reading does not extend the ttl", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 });
    cache.set("a", "A");
    time.now = 29;
    cache.get("a");
    time.now = 30;
    expect(cache.get("a")).toBeUndefined();
  });

  test.each([0, -1, Number.NaN])(
    "a ttl of %d has passed: the value is not stored, and what was there is removed",
    (ttlMs) => {
      const { cache } = cacheOf();
      cache.set("a", "old", 7);
      cache.set("a", "new", 7, ttlMs);
      expect([cache.get("a"), cache.size, cache.bytes]).toEqual([undefined, 0, 0]);
    },
  );

  test("an expired entry is removed by the read that finds it", () => {
    const { cache, time } = cacheOf();
    cache.set("a", "A", 7);
    time.now = 1_000;
    expect([cache.size, cache.bytes]).toEqual([1, 7]);
    cache.get("a");
    expect([cache.size, cache.bytes]).toEqual([0, 0]);
  });

  test("get and peek take the time of a caller that has just read it", () => {
    const { cache } = cacheOf({ ttlMs: 30 });
    cache.set("a", "A");
    expect([cache.peek("a", 29), cache.peek("a", 30)]).toEqual(["A", undefined]);
    expect([cache.get("a", 29), cache.get("a", 30)]).toEqual(["A", undefined]);
  });

  test("a value is not stored if its time ended before the last clear", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 }, 500);
    cache.clear();
    cache.set("a", "A", 0, 10, 480);
    expect([cache.get("a"), cache.size]).toEqual([undefined, 0]);
    time.now = 1_000_000;
    expect(cache.get("a")).toBeUndefined();
  });

  test("a time in the past, passed by the caller, expires its own entry only", () => {
    const { cache, time } = cacheOf({ ttlMs: 30 }, 500);
    cache.set("a", "A", 0, 30, 520);
    cache.set("b", "B", 0, 30, 510);
    time.now = 540;
    expect(keysOf(cache)).toEqual(["a"]);
  });

  test("a miss does not read the clock", () => {
    let reads = 0;
    const cache = new LocalCache<string>({ clock: () => ++reads });
    const before = reads;
    cache.get("absent");
    expect(reads).toBe(before);
  });

  test("without a clock, the process's is used", () => {
    const cache = new LocalCache<string>();
    cache.set("a", "A");
    expect(cache.get("a")).toBe("A");
    expect(cache.get("a", performance.now() + 30_000)).toBeUndefined();
  });
});

describe("evicted when it is full is", () => {
  test("the least recently written", () => {
    const { cache } = cacheOf({ maxSize: 2 });
    for (const key of ["a", "b", "c"]) cache.set(key, key);
    expect(keysOf(cache)).toEqual(["b", "c"]);
  });

  test("not the one that was read meanwhile", () => {
    const { cache } = cacheOf({ maxSize: 2 });
    for (const key of ["a", "b"]) cache.set(key, key);
    cache.get("a");
    cache.set("c", "c");
    expect(keysOf(cache)).toEqual(["a", "c"]);
  });

  test("also the one that was only peeked at", () => {
    const { cache } = cacheOf({ maxSize: 2 });
    for (const key of ["a", "b"]) cache.set(key, key);
    cache.peek("a");
    cache.set("c", "c");
    expect(keysOf(cache)).toEqual(["b", "c"]);
  });

  test("not the one that was written again meanwhile", () => {
    const { cache } = cacheOf({ maxSize: 2 });
    for (const key of ["a", "b", "a", "c"]) cache.set(key, key);
    expect(keysOf(cache)).toEqual(["a", "c"]);
  });

  test("none, when an existing key is written again", () => {
    const { cache } = cacheOf({ maxSize: 2 });
    for (const key of ["a", "b", "a", "b", "a"]) cache.set(key, key);
    expect([keysOf(cache), cache.stats.evictions]).toEqual([["a", "b"], 0]);
  });

  test("an expired entry, even if a live one was used less recently", () => {
    const { cache, time } = cacheOf({ maxSize: 2 });
    cache.set("live", "L");
    cache.set("expired", "E", 0, 10);
    time.now = 10;
    cache.set("new", "N");
    expect([keysOf(cache), cache.stats.evictions]).toEqual([["live", "new"], 0]);
  });

  test("an expired entry, found after however long a pause", () => {
    const { cache, time } = cacheOf({ maxSize: 3, ttlMs: 30_000 });
    cache.set("a", "a", 0, 10);
    time.now = 3_600_000;
    for (const key of ["b", "c", "d"]) cache.set(key, key);
    expect([keysOf(cache), cache.stats.evictions]).toEqual([["b", "c", "d"], 0]);
  });

  test("all expired entries before any live one, among however many", () => {
    const { cache, time } = cacheOf<number>({ maxSize: 200 });
    for (let i = 0; i < 100; i++) cache.set(`live${i}`, i);
    for (let i = 0; i < 100; i++) cache.set(`expired${i}`, i, 0, 1 + i);
    time.now = 100;
    for (let i = 0; i < 100; i++) cache.set(`new${i}`, i);
    expect([keysOf(cache).length, cache.size, cache.stats.evictions]).toEqual([200, 200, 0]);
    expect(keysOf(cache)).not.toContain("expired99");
  });

  test("all expired entries before any live one, whatever their times to live", () => {
    const { cache, time } = cacheOf<number>({ maxSize: 200 });
    for (let i = 0; i < 200; i++) cache.set(`old${i}`, i, 0, 1 + ((i * 77) % 200));
    time.now = 100;
    for (let i = 0; i < 100; i++) cache.set(`new${i}`, i);
    expect([keysOf(cache).length, cache.stats.evictions]).toEqual([200, 0]);
    for (let i = 0; i < 200; i++) expect(cache.peek(`old${i}`)).toBe((i * 77) % 200 >= 100 ? i : undefined);
    cache.set("one more", 0);
    expect(cache.stats.evictions).toBe(1);
  });

  test("a live entry again, once no expired one is left", () => {
    const { cache, time } = cacheOf({ maxSize: 2 });
    cache.set("a", "a");
    cache.set("b", "b", 0, 10);
    time.now = 10;
    cache.set("c", "c");
    cache.set("d", "d");
    expect([keysOf(cache), cache.stats.evictions]).toEqual([["c", "d"], 1]);
  });
});

describe("bytes", () => {
  test("as many entries are evicted as the new one needs", () => {
    const { cache } = cacheOf({ maxBytes: 10 });
    for (const key of ["a", "b", "c"]) cache.set(key, key, 3);
    cache.set("d", "d", 6);
    expect([keysOf(cache), cache.bytes, cache.stats.evictions]).toEqual([["c", "d"], 9, 2]);
  });

  test("nothing is evicted when it fits exactly", () => {
    const { cache } = cacheOf({ maxBytes: 10 });
    cache.set("a", "a", 4);
    cache.set("b", "b", 6);
    expect([keysOf(cache), cache.stats.evictions]).toEqual([["a", "b"], 0]);
  });

  test("expired entries are removed first and are not counted as evicted", () => {
    const { cache, time } = cacheOf({ maxBytes: 10 });
    cache.set("live", "L", 4);
    cache.set("expired", "E", 4, 10);
    time.now = 10;
    cache.set("new", "N", 6);
    expect([keysOf(cache), cache.bytes, cache.stats.evictions]).toEqual([["live", "new"], 10, 0]);
  });

  test("a value that is replaced by a larger one evicts others", () => {
    const { cache } = cacheOf({ maxBytes: 10 });
    for (const key of ["a", "b"]) cache.set(key, key, 5);
    cache.set("a", "a", 6);
    expect([keysOf(cache), cache.bytes]).toEqual([["a"], 6]);
  });

  test("a value that could never fit is not stored, what was there is removed, and no other entry", () => {
    const { cache } = cacheOf({ maxBytes: 10 });
    cache.set("a", "a", 5);
    cache.set("b", "old", 5);
    cache.set("b", "new", 11);
    expect([keysOf(cache), cache.bytes, cache.stats.evictions]).toEqual([["a"], 5, 0]);
  });

  test("an entry without a size counts nothing", () => {
    const { cache } = cacheOf({ maxBytes: 1 });
    for (const key of ["a", "b", "c"]) cache.set(key, key);
    expect([cache.size, cache.bytes]).toEqual([3, 0]);
  });
});

describe("counters", () => {
  test("a read of a live entry is a hit; of an absent or expired one, a miss", () => {
    const { cache, time } = cacheOf();
    cache.set("a", "A");
    cache.get("a");
    cache.get("a");
    cache.get("a");
    cache.get("absent");
    time.now = 1_000;
    cache.get("a");
    expect(cache.stats).toMatchObject({ hits: 3, misses: 2, hitRate: 0.6 });
  });

  test("peek, delete and entries count nothing", () => {
    const { cache } = cacheOf();
    cache.set("a", "A");
    cache.peek("a");
    cache.peek("absent");
    keysOf(cache);
    cache.delete("a");
    expect(cache.stats).toMatchObject({ hits: 0, misses: 0 });
  });

  test("the hit rate is 0 before the first read", () => {
    expect(cacheOf().cache.stats.hitRate).toBe(0);
  });

  test("deleted entries are not counted as evicted", () => {
    const { cache } = cacheOf({ maxSize: 1 });
    cache.set("a", "A");
    cache.delete("a");
    cache.set("b", "B");
    expect(cache.stats.evictions).toBe(0);
  });

  test("resetStats resets the counters and keeps the entries", () => {
    const { cache } = cacheOf({ maxSize: 1 });
    cache.set("a", "A", 2);
    cache.set("b", "B", 2);
    cache.get("a");
    cache.get("b");
    cache.resetStats();
    expect(cache.stats).toMatchObject({ hits: 0, misses: 0, evictions: 0, size: 1, bytes: 2, hitRate: 0 });
    expect(cache.get("b")).toBe("B");
  });
});

test("a cache that lives for months works as on its first day", () => {
  const time = { now: 0 };
  const cache = new LocalCache<string>({ ttlMs: 1_000, maxSize: 2, clock: () => time.now });
  const month = 30 * 24 * 3_600_000;
  for (let i = 0; i < 30; i++) {
    time.now += month + i;
    cache.set("short", "1", 0, 10);
    cache.set("long", "2");
    expect([cache.get("short"), cache.get("long")]).toEqual(["1", "2"]);
    time.now += 10;
    expect([cache.get("short"), cache.get("long")]).toEqual([undefined, "2"]);
    cache.set("other", "3");
    expect([cache.get("long"), cache.get("other"), cache.size]).toEqual(["2", "3", 2]);
  }
  time.now += 1_000;
  expect(cache.get("long")).toBeUndefined();
});

describe("wrong limits", () => {
  const wrong: [keyof LocalCacheLimits, unknown][] = [
    ["ttlMs", 0],
    ["ttlMs", -5],
    ["ttlMs", Number.NaN],
    ["ttlMs", Number.POSITIVE_INFINITY],
    ["ttlMs", "30000"],
    ["maxSize", 0],
    ["maxSize", 1.5],
    ["maxSize", Number.POSITIVE_INFINITY],
    ["maxBytes", -1],
    ["maxBytes", Number.NaN],
  ];
  test.each(wrong)("a %s of %s is a TypeError that names it and what it got", (name, value) => {
    const build = () => new LocalCache({ [name]: value } as LocalCacheLimits);
    expect(build).toThrow(TypeError);
    expect(build).toThrow(new RegExp(`LocalCache: ${name}: expected .* number.*, got ${String(value)}$`));
  });
});

/**
 * What the documentation promises, in the simplest words: the live entries, the least recently used first. Which of several
 * expired entries makes room is left open, so `size` and `bytes` are only known to within what has expired.
 */
class Model {
  live: { key: string; value: number; bytes: number; deadline: number }[] = [];
  hits = 0;
  misses = 0;
  evictions = 0;
  readonly ttlMs: number;
  readonly maxSize: number;
  readonly maxBytes: number;

  constructor(limits: { ttlMs: number; maxSize: number; maxBytes: number }) {
    this.ttlMs = limits.ttlMs;
    this.maxSize = limits.maxSize;
    this.maxBytes = limits.maxBytes;
  }

  get bytes() {
    return this.live.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  expire(now: number) {
    this.live = this.live.filter(({ deadline }) => now < deadline);
  }

  take(key: string) {
    const index = this.live.findIndex((entry) => entry.key === key);
    return index < 0 ? undefined : this.live.splice(index, 1)[0];
  }

  get(key: string) {
    const entry = this.take(key);
    if (entry === undefined) this.misses++;
    else {
      this.hits++;
      this.live.push(entry);
    }
    return entry?.value;
  }

  set(key: string, value: number, bytes: number, ttlMs: number, now: number) {
    const deadline = Math.floor(now + Math.min(ttlMs, this.ttlMs));
    this.take(key);
    if (bytes > this.maxBytes || deadline <= now) return;
    this.live.push({ key, value, bytes, deadline });
    while (this.live.length > this.maxSize || this.bytes > this.maxBytes) {
      this.live.shift();
      this.evictions++;
    }
  }
}

test("whatever is done in whatever order, it holds exactly what the rules say", () => {
  const key = fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h");
  const ttl = fc.oneof(fc.integer({ min: -1, max: 40 }), fc.integer({ min: 1, max: 10_000 }));
  const command = fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant("get" as const), key }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("set" as const),
        key,
        bytes: fc.integer({ min: 0, max: 12 }),
        ttl: fc.option(ttl, { nil: undefined }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("delete" as const), key }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("advance" as const),
        ms: fc.oneof(
          fc.integer({ min: 0, max: 160 }).map((eighths) => eighths / 8),
          fc.integer({ min: 0, max: 5_000 }),
          fc.integer({ min: 0, max: 10_000_000 }),
        ),
      }),
    },
  );
  const limits = fc.record({
    ttlMs: fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 5_000 })),
    maxSize: fc.integer({ min: 1, max: 6 }),
    maxBytes: fc.integer({ min: 1, max: 40 }),
  });

  const holds = fc.property(limits, fc.array(command, { maxLength: 80 }), (chosen, commands) => {
    const { cache, time } = cacheOf<number>(chosen);
    const model = new Model(chosen);
    commands.forEach((step, i) => {
      if (step.do === "advance") time.now += step.ms;
      model.expire(time.now);
      if (step.do === "get") expect(cache.get(step.key)).toBe(model.get(step.key));
      else if (step.do === "delete") expect(cache.delete(step.key)).toBe(model.take(step.key) !== undefined);
      else if (step.do === "set") {
        cache.set(step.key, i, step.bytes, step.ttl);
        model.set(step.key, i, step.bytes, step.ttl ?? chosen.ttlMs, time.now);
      } else if (step.do === "clear") {
        cache.clear();
        model.live = [];
        expect([cache.size, cache.bytes]).toEqual([0, 0]);
      }
      const live = new Map(model.live.map(({ key, value }) => [key, value]));
      expect(new Map(cache.entries())).toEqual(live);
      for (const k of ["a", "b", "c", "d", "e", "f", "g", "h"]) expect(cache.peek(k)).toBe(live.get(k));
      const { hits, misses, evictions } = model;
      expect(cache.stats).toMatchObject({ hits, misses, evictions, size: cache.size, bytes: cache.bytes });
      expect(cache.size).toBeGreaterThanOrEqual(live.size);
      expect(cache.size).toBeLessThanOrEqual(chosen.maxSize);
      expect(cache.bytes).toBeGreaterThanOrEqual(model.bytes);
      expect(cache.bytes).toBeLessThanOrEqual(chosen.maxBytes);
      if (cache.size === live.size) expect(cache.bytes).toBe(model.bytes);
    });
  });
  fc.assert(holds, { numRuns: 1_000 });
});
