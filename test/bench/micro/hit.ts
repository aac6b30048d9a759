// `store.get` on a hit, with a live store: node hit.ts <Redis URL> <session bytes> <get|session>
import { ClusteredRedisStore } from "clustered-redis-store";
import type { SessionData } from "express-session";
import { createClient } from "redis";
import { report } from "../support/child.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";
import { nsPerCall } from "./timing.ts";

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
let got: SessionData | null | undefined;
const keep = (_error: unknown, session?: SessionData | null) => {
  got = session;
};
const get = () => {
  store.get(sids[turn++ % SESSIONS] as string, keep);
  return got;
};
/** What express-session does with what it got: an object with methods, and a cookie with methods. */
const getAndCreate = () => {
  const sid = sids[turn++ % SESSIONS] as string;
  store.get(sid, keep);
  const request = { sessionID: sid, sessionStore: store };
  return store.createSession(
    request as unknown as Parameters<typeof store.createSession>[0],
    got as SessionData,
  );
};
const ns = nsPerCall(what === "get" ? get : getAndCreate);
const { misses } = store.cacheStats;
await store.clear();
await store.close();
client.destroy();
if (misses > 0) throw new Error(`${misses} misses`);
report(ns);
