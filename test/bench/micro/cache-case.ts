// One contender in one case, in its own process: node cache-case.ts <cache> <case> <entries>
import { setImmediate as otherWork } from "node:timers/promises";
import { report } from "../support/child.ts";
import { sidOf } from "../support/sessions.ts";
import { lowerQuartile } from "../support/statistics.ts";
import { CACHES, type Cache, type CacheCase, type CacheName } from "./caches.ts";
import { zipf } from "./zipf.ts";

const OPERATIONS = 50_000;
const BATCHES = 18;
const WARM_UP = 6;
const ENTRIES_FOR_BYTES = 400_000;

function keys(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => sidOf(from + i));
}

const value = { a: 1 };

function step(
  what: CacheCase,
  cache: Cache,
  entries: number,
  asked: readonly string[],
): (batch: number) => void {
  const absent = keys(10 * entries, what === "miss" ? entries : 0);
  const order = Uint32Array.from({ length: OPERATIONS * BATCHES }, () => Math.floor(Math.random() * entries));
  if (what === "zipf") order.set(zipf(4 * entries, order.length));
  const key = (i: number) => asked[order[i] as number] as string;
  const upTo = (batch: number) => (batch + 1) * OPERATIONS;

  const steps: Record<Exclude<CacheCase, "bytes">, (batch: number) => void> = {
    hit: (batch) => {
      let found = 0;
      for (let i = batch * OPERATIONS; i < upTo(batch); i++) if (cache.get(key(i)) !== undefined) found++;
      if (found !== OPERATIONS) throw new Error(`Only ${found} hits`);
    },
    miss: (batch) => {
      for (let i = batch * OPERATIONS; i < upTo(batch); i++) cache.get(absent[order[i] as number] as string);
    },
    evict: (batch) => {
      for (let i = batch * OPERATIONS; i < upTo(batch); i++) {
        cache.set(asked[(entries + i) % asked.length] as string, value);
      }
    },
    overwrite: (batch) => {
      for (let i = batch * OPERATIONS; i < upTo(batch); i++) cache.set(key(i), value);
    },
    zipf: (batch) => {
      for (let i = batch * OPERATIONS; i < upTo(batch); i++) {
        const asking = key(i);
        if (cache.get(asking) === undefined) cache.set(asking, value);
      }
    },
  };
  return steps[what as Exclude<CacheCase, "bytes">];
}

/** Bytes of the heap and of the buffers outside it, after garbage collection. */
function usedBytes(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function bytesPerEntry(name: CacheName, entries: number): Promise<number> {
  const all = keys(0, entries);
  const filled = async () => {
    const cache = await CACHES[name](entries);
    for (const key of all) cache.set(key, value);
    return cache;
  };
  // The first cache loads and compiles the code, whose memory does not count. Several caches make the rest of the heap, which
  // varies by some 100 KB, negligible.
  const caches = [await filled()];
  const before = usedBytes();
  while (caches.length <= ENTRIES_FOR_BYTES / entries) caches.push(await filled());
  const bytes = (usedBytes() - before) / (entries * (caches.length - 1));
  if (caches.some((cache) => cache.get(all.at(-1) as string) !== value)) throw new Error("Not kept");
  return bytes;
}

async function nsPerOperation(name: CacheName, what: CacheCase, entries: number): Promise<number> {
  const cache = await CACHES[name](entries);
  const all = keys(0, what === "evict" || what === "zipf" ? 4 * entries : entries);
  for (const key of all.slice(0, entries)) cache.set(key, value);
  const run = step(what, cache, entries, all);
  const took: number[] = [];
  for (let batch = 0; batch < BATCHES; batch++) {
    // Lets timers fire: lru-cache reuses the time it read for a millisecond.
    await otherWork();
    cache.startTurn?.();
    const start = process.cpuUsage();
    run(batch);
    const { user, system } = process.cpuUsage(start);
    if (batch >= WARM_UP) took.push((1000 * (user + system)) / OPERATIONS);
  }
  return lowerQuartile(took);
}

const [name, what, entries] = process.argv.slice(2) as [CacheName, CacheCase, string];
const measure =
  what === "bytes" ? bytesPerEntry(name, Number(entries)) : nsPerOperation(name, what, Number(entries));
report(await measure);
