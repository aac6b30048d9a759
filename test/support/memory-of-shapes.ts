// The memory of a cache for shapes of session, counted and real: node --expose-gc --import tsx memory-of-shapes.ts
import { randomBytes } from "node:crypto";
import type { SessionData } from "express-session";
import { LocalCache } from "../../lib/cache/local-cache.ts";
import { NearCache } from "../../lib/cache/near-cache.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { decode, type SessionFormat, stringify } from "../../lib/sessions/serializer.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

/** For one session, in bytes. */
export interface ShapeMemory {
  readonly shape: string;
  readonly sessions: number;
  readonly text: number;
  readonly counted: number;
  readonly real: number;
}

export interface Report {
  readonly shapes: readonly ShapeMemory[];
  /** What is left when all caches are gone, in bytes. */
  readonly left: number;
}

/** So much that what V8 keeps besides, such as compiled code, hardly counts: that is some hundred kilobytes. */
const FULL_BYTES = 4 * 2 ** 20;
/** Of ordinary sessions the estimate has to be closer. */
const FULL_BYTES_ORDINARY = 12 * 2 ** 20;

let unique = 0;
const text = (length: number) => randomBytes(length).toString("base64url").slice(0, length);
const times = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)]);
const keyed = (keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, 1]));

type Make = () => Record<string, unknown>;

const ordinary: Make = () => ({
  passport: { user: text(24) },
  csrf: text(36),
  lastSeen: Date.now() + unique++,
  agent: text(80),
  cart: times(4, () => ({ sku: text(12), count: 2, price: 19.99, name: text(30) })),
  preferences: { theme: "dark", language: "en", zone: "Europe/Berlin", notify: true },
});

const JSON_SHAPES: Readonly<Record<string, Make>> = {
  ordinary,
  "ordinary, small": () => ({ user: text(12) }),
  "ordinary, large": () => ({
    user: text(24),
    cart: times(50, () => ({ sku: text(12), count: 2, price: 19.99, name: text(40), tags: ["new", "sale"] })),
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

const padding = () => text(20_000);
const parse = (value: string) => JSON.parse(value) as SessionData;

/** Strings that hold more than their characters: V8 keeps the string that another is a part of, or the parts that it is made of. */
const FORMATS: Readonly<Record<string, Omit<SessionFormat, "prefix">>> = {
  "a serializer that returns a part of a longer string": {
    serializer: { parse, stringify: (session) => `${padding()}${JSON.stringify(session)}`.slice(20_000) },
  },
  "a serializer that joins many strings": {
    serializer: {
      parse,
      stringify: (session) => {
        let joined = "";
        for (const character of JSON.stringify(session)) joined += character;
        return joined;
      },
    },
  },
  "a codec that returns a part of the value": {
    serializer: JSON,
    codec: {
      encode: (value) => padding() + value,
      decode: (value) => value.slice(20_000),
    },
  },
};

function heldBytes(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const COOKIE = { originalMaxAge: 60_000, expires: new Date(), httpOnly: true, path: "/" };

/** Fills a cache as reads do, or saves if the serializer is not JSON. */
function measure(
  shape: string,
  make: Make,
  format: SessionFormat = { serializer: JSON, prefix: "sess:" },
): ShapeMemory {
  const local = new LocalCache<StoredSession>({ maxBytes: 2 ** 31, maxSize: 100_000, ttlMs: 600_000 });
  const near = new NearCache({ cache: local, gate: { isLive: () => true }, counters: createCounters() });
  let sessions = 0;
  let textBytes = 0;
  const before = heldBytes();
  const fullBytes = shape.startsWith("ordinary") ? FULL_BYTES_ORDINARY : FULL_BYTES;
  while (local.bytes < fullBytes) {
    const sid = text(32);
    const session = { cookie: COOKIE, ...make() } as unknown as SessionData;
    const stored = storedOf(format, sid, session);
    near.endWrite(near.beginWrite(sid), stored);
    // From the second copy on the parsed session is kept.
    for (let copies = 0; copies < 2; copies++) stored.copy(sid);
    near.recount(sid, stored);
    sessions++;
    textBytes += stored.text.length;
  }
  const real = Math.round((heldBytes() - before) / sessions);
  const counted = Math.round(local.bytes / sessions);
  return { shape, sessions, text: Math.round(textBytes / sessions), counted, real };
}

function storedOf(format: SessionFormat, sid: string, session: SessionData): StoredSession {
  const expiresAt = performance.now() + 60_000.5;
  const text = stringify(format, sid, session);
  if (format.serializer !== JSON) return new StoredSession(format, text, expiresAt);
  // As node-redis returns it: a string of its own.
  const value = Buffer.from(format.codec?.encode(text, { sid, key: sid }) ?? text).toString();
  const stored = new StoredSession(format, decode(format, sid, value), expiresAt);
  stored.parse(sid);
  return stored;
}

measure("warm-up", ordinary);
const before = heldBytes();
const shapes = [
  ...Object.entries(JSON_SHAPES).map(([shape, make]) => measure(shape, make)),
  ...Object.entries(FORMATS).map(([shape, format]) =>
    measure(shape, ordinary, { ...format, prefix: "sess:" }),
  ),
];
const report: Report = { shapes, left: heldBytes() - before };
console.log(JSON.stringify(report));
