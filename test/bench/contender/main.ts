// A contender in a process of its own: node main.ts <name>. What it is to do, main.ts of the benchmark tells it.
import { createHmac } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import session, { type SessionData } from "express-session";
import { serve } from "../support/rpc.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";
import { quantile } from "../support/statistics.ts";
import { Application } from "./application.ts";
import {
  atIntervals,
  type IntervalOptions,
  type RequestOptions,
  readEach,
  repeat,
  requests,
  type TurnOptions,
  type TurnResult,
} from "./in-process.ts";
import type { ContenderName } from "./names.ts";
import { CONTENDERS, type Contender } from "./stores.ts";

/** What the requests meet. */
export interface Setting {
  readonly redisUrl: string;
  readonly bytes: number;
  readonly maxAgeMs: number | null;
  /** What precedes the ids in Redis, for several processes with the same sessions. @default one of its own */
  readonly prefix?: string;
}

const SECRET = "bench";
const SESSIONS = 200;
/** A session that is asked for counts as not served after that time. */
const PATIENCE_MS = 500;
const POLL_MS = 20;

const name = process.argv[2] as ContenderName;
let contender: Contender | undefined;
let middleware: ReturnType<typeof session> | undefined;
let application: Application | undefined;
let prepared = 0;
const cookies = Array.from({ length: SESSIONS }, (_, i) => cookieOf(sidOf(i)));

function cookieOf(sid: string): string {
  const signature = createHmac("sha256", SECRET).update(sid).digest("base64").replace(/=+$/, "");
  return `connect.sid=${encodeURIComponent(`s:${sid}.${signature}`)}`;
}

function there<T>(value: T | undefined): T {
  if (value === undefined) throw new Error(`${name}: nothing prepared`);
  return value;
}

function set(sid: string, data: SessionData): Promise<void> {
  const { store } = there(contender);
  return new Promise((resolve, reject) => {
    store.set(sid, data, (error?: unknown) => (error ? reject(error as Error) : resolve()));
  });
}

function get(sid: string): Promise<unknown> {
  const { store } = there(contender);
  return new Promise((resolve, reject) => {
    store.get(sid, (error: unknown, data) => (error ? reject(error as Error) : resolve(data)));
  });
}

function heldBytes(): number {
  for (let i = 0; i < 4; i++) globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

export const handlers = {
  /** A new store, with sessions in it that have been read once. */
  prepare: async ({ redisUrl, bytes, maxAgeMs, prefix }: Setting): Promise<void> => {
    await contender?.close();
    const ownPrefix = `bench:${process.pid}:${++prepared}:`;
    contender = await CONTENDERS[name](redisUrl, prefix ?? ownPrefix, sessionOf(bytes, maxAgeMs));
    middleware = session({
      store: contender.store,
      secret: SECRET,
      resave: false,
      saveUninitialized: false,
      cookie: maxAgeMs === null ? {} : { maxAge: maxAgeMs },
    });
    // One after another, as users come: V8 takes what hundreds at once leave behind for a sign that such objects live long.
    for (let i = 0; i < SESSIONS; i++) await set(sidOf(i), sessionOf(bytes, maxAgeMs));
    await readEach(middleware, cookies);
  },

  requests: (options: RequestOptions): Promise<TurnResult> => requests(there(middleware), cookies, options),

  writes: (options: TurnOptions): Promise<TurnResult> => {
    const sessions = cookies.map(() => sessionOf(1000, 3_600_000));
    return repeat(options, (i) => set(sidOf(i), sessions[i] as SessionData));
  },

  atIntervals: (options: IntervalOptions): Promise<number[]> =>
    atIntervals(there(middleware), cookies, options),

  published: (): number => there(contender).published(),

  listen: async (): Promise<{ port: number; cookies: string[] }> => {
    application = new Application(there(middleware));
    return { port: await application.listen(), cookies };
  },

  startWatching: (): void => there(application).startWatching(),

  stopWatching: (): ReturnType<Application["stopWatching"]> => there(application).stopWatching(),

  stopListening: (): Promise<void> => there(application).close(),

  /** How long one `set` takes, and one PING: medians in µs. */
  roundTrips: async (times: number): Promise<{ set: number; ping: number }> => {
    const took = { set: [] as number[], ping: [] as number[] };
    for (let i = 0; i < times; i++) {
      const start = performance.now();
      await there(contender).ping();
      const between = performance.now();
      await set(sidOf(i % SESSIONS), sessionOf(1000, 3_600_000));
      took.ping.push(1000 * (between - start));
      took.set.push(1000 * (performance.now() - between));
    }
    const median = (values: number[]) =>
      quantile(
        values.toSorted((a, b) => a - b),
        0.5,
      );
    return { set: median(took.set), ping: median(took.ping) };
  },

  /** Bytes of this process's memory for each session that it has written and read. */
  memory: async (sessions: number): Promise<number> => {
    const before = heldBytes();
    for (let i = 0; i < sessions; i++) await set(sidOf(1_000_000 + i), sessionOf(1000, 3_600_000));
    for (let i = 0; i < sessions; i++) await get(sidOf(1_000_000 + i));
    return (heldBytes() - before) / sessions;
  },

  read: (): Promise<unknown> => get(sidOf(0)),

  destroy: (): Promise<void> =>
    new Promise((resolve, reject) => {
      there(contender).store.destroy(sidOf(0), (error?: unknown) =>
        error ? reject(error as Error) : resolve(),
      );
    }),

  /** For how long `get` still returns a session that has been read, in ms from now on. */
  servedFor: async (): Promise<number> => {
    const start = performance.now();
    let last = 0;
    const isServed = async () => {
      const missing = pause(PATIENCE_MS).then(() => null);
      return (await Promise.race([get(sidOf(0)).catch(() => null), missing])) !== null;
    };
    while (await isServed()) {
      last = performance.now() - start;
      await pause(POLL_MS);
    }
    return last;
  },

  close: async (): Promise<void> => {
    await contender?.close();
    contender = undefined;
  },
};

serve(handlers);
