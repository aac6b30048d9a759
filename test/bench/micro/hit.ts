// `store.get` on a hit, with a live store: node hit.ts <Redis URL> <session bytes> <get|session>
import { ClusteredRedisStore } from "clustered-redis-store";
import type { SessionData } from "express-session";
import { createClient } from "redis";
import { report } from "../support/child.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";
import { nsPerAsyncCall } from "./timing.ts";

const SESSIONS = 1000;

const [url, bytes, what] = process.argv.slice(2) as [string, string, string];
const client = createClient({ url });
await client.connect();
const id = `bench:${process.pid}`;
const store = new ClusteredRedisStore({
  client,
  prefix: `${id}:`,
  localCache: { ttlMs: 600_000, maxBytes: 2 ** 30 },
  cluster: { channel: id, leaseMs: 600_000 },
});
await store.ready();
const sids = Array.from({ length: SESSIONS }, (_, i) => sidOf(i));
for (const sid of sids) await store.set(sid, sessionOf(Number(bytes), 3_600_000));
for (const sid of sids) await store.get(sid);
store.resetCacheStats();

let turn = 0;
/** What express-session does with what it got: an object with methods, and a cookie with methods. */
const create = (sid: string, session: SessionData) => {
  const request = { sessionID: sid, sessionStore: store };
  store.createSession(request as unknown as Parameters<typeof store.createSession>[0], session);
};
const run = (times: number) =>
  new Promise<void>((resolve, reject) => {
    const next = (left: number) => {
      if (left === 0) return resolve();
      const sid = sids[turn++ % SESSIONS] as string;
      store.get(sid, (error: unknown, session?: SessionData | null) => {
        if (error || !session) return reject(error ?? new Error("There was no session"));
        if (what !== "get") create(sid, session);
        next(left - 1);
      });
    };
    next(times);
  });
const ns = await nsPerAsyncCall(run);
const { misses } = store.cacheStats;
await store.clear();
await store.close();
client.destroy();
if (misses > 0) throw new Error(`${misses} misses`);
report(ns);
