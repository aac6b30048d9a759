// The memory of a store's cached sessions, counted and real: node --expose-gc --import tsx memory-of-subscriptions.ts <Redis URL>
import { randomBytes } from "node:crypto";
import { createClient } from "redis";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { newSpace, sessionOf, whenLive } from "./node.ts";

const SESSIONS = 10_000;
const client = createClient({ url: process.argv[2] as string });
await client.connect();
const { prefix, channel } = newSpace();
const store = new ClusteredRedisStore({
  client,
  prefix,
  cluster: { channel },
  localCache: { ttlMs: 600_000 },
});
await whenLive(store);

function heldBytes(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Saves and reads sessions whose ids are parts of a Cookie header, as express-session gets them. */
async function visit(count: number): Promise<void> {
  for (let i = 0; i < count; i += 100) {
    const visits = Array.from({ length: 100 }, async () => {
      const header = `other=${randomBytes(4_000).toString("hex")}; id=${randomBytes(16).toString("hex")}`;
      const sid = header.slice(-32);
      await store.set(sid, sessionOf({ user: randomBytes(6).toString("hex") }, 600_000));
      await store.get(sid);
    });
    await Promise.all(visits);
  }
}

await visit(500);
const [before, countedBefore] = [heldBytes(), store.cacheStats.bytes];
await visit(SESSIONS - 500);
const { bytes, size } = store.cacheStats;
const real = heldBytes() - before;
console.log(JSON.stringify({ counted: bytes - countedBefore, real, size }));
await store.close();
client.destroy();
