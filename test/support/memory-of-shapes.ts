// The memory of a cache for shapes of session, counted and real: node --expose-gc --import tsx memory-of-shapes.ts
import { randomBytes } from "node:crypto";
import type { SessionData } from "express-session";
import { LocalCache } from "../../lib/cache/local-cache.ts";
import { NearCache } from "../../lib/cache/near-cache.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

/** For one session, in bytes. */
export interface ShapeMemory {
  readonly shape: string;
  readonly text: number;
  readonly counted: number;
  readonly real: number;
}

export interface Report {
  readonly shapes: readonly ShapeMemory[];
  /** What is left when all caches are gone, in bytes. */
  readonly left: number;
}

const SESSIONS = 300;

let unique = 0;
const text = (length: number) => randomBytes(length).toString("base64url").slice(0, length);
const times = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
const keyed = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, 1]));

const SHAPES: Readonly<Record<string, () => Record<string, unknown>>> = {
  ordinary: () => ({
    passport: { user: text(24) },
    csrf: text(36),
    lastSeen: Date.now() + unique++,
    agent: text(80),
    cart: times(4, () => ({ sku: text(12), count: 2, price: 19.99, name: text(30) })),
    preferences: { theme: "dark", language: "en", zone: "Europe/Berlin", notify: true },
  }),
  "a long string": () => ({ text: text(5_000) }),
  "two-byte characters": () => ({ text: text(20) + "中".repeat(2_000) }),
  "numbers [1,2,…]": () => ({ list: times(1_000, () => unique++) }),
  "empty objects [{},{},…]": () => ({ list: times(2_000, () => ({})) }),
  "nested 900 deep": () => ({ nested: nested(900) }),
  "two-byte characters in one place": () => ({ one: "中", text: text(5_000) }),
  "fractions and huge numbers": () => ({ list: times(500, () => ({ a: Math.random(), b: 1e300 })) }),
  "keys that are numbers, with gaps": () => ({ list: times(100, () => ({ 5: 1, 1000: 1 })) }),
  "keys with a long common beginning": () => keyed(times(100, (i) => `${"x".repeat(300)}${i}`)),
  "500 keys, always the same": () => keyed(times(500, (i) => `key-${i}`)),
  "500 keys, each once": () => keyed(times(500, () => `key-${unique++}`)),
  // From here on so many keys have been seen that V8 shares hidden classes no more.
  "20 keys, each once": () => keyed(times(20, () => `key-${unique++}`)),
  "long keys, each once": () => keyed(times(5, () => `${unique++}${"x".repeat(2_000)}`)),
  "objects of three keys, each once": () => ({
    list: times(100, () => keyed(times(3, () => `key-${unique++}`))),
  }),
  "objects of three keys, alike": () => ({ list: times(300, () => ({ first: 1, second: 2, third: 3 })) }),
};

function heldBytes(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

function measure(shape: string, make: () => Record<string, unknown>): ShapeMemory {
  const format = { serializer: JSON, prefix: "sess:" };
  const cookie = { originalMaxAge: 60_000, expires: new Date(), httpOnly: true, path: "/" };
  const texts = times(SESSIONS, () => Buffer.from(JSON.stringify({ cookie, ...make() } as SessionData)));
  new StoredSession(format, String(texts[0]), undefined).copy("warm-up");
  const local = new LocalCache<StoredSession>({ maxBytes: 2 ** 31, ttlMs: 600_000 });
  const near = new NearCache(local, { isLive: () => true }, createCounters());
  const before = heldBytes();
  for (const value of texts) {
    const sid = text(32);
    const stored = new StoredSession(format, value.toString(), performance.now() + 60_000.5);
    near.endWrite(near.beginWrite(sid), stored);
    stored.copy(sid);
    near.recount(sid, stored);
  }
  const real = Math.round((heldBytes() - before) / SESSIONS);
  const counted = Math.round(local.bytes / SESSIONS);
  return { shape, text: (texts[0] as Buffer).length, counted, real };
}

measure("warm-up", SHAPES["ordinary"] as () => Record<string, unknown>);
const before = heldBytes();
const shapes = Object.entries(SHAPES).map(([shape, make]) => measure(shape, make));
const report: Report = { shapes, left: heldBytes() - before };
console.log(JSON.stringify(report));
