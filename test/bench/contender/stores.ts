import { ClusteredRedisStore } from "clustered-redis-store";
import { RedisStore as ConnectRedis9 } from "connect-redis";
import session, { type SessionData, Store } from "express-session";
import { createClient } from "redis";
import { cloneJson } from "../../../dist/esm/sessions/clone-json.js";
import { ConnectRedis10 } from "../../support/connect-redis-10.ts";
import type { ContenderName } from "./names.ts";

/** A contender: a store, and how to get rid of it. */
export interface Contender {
  readonly store: Store;
  /** Messages that it published with its writes; heartbeats are not among them. */
  readonly published: () => number;
  /** One round trip to Redis. */
  readonly ping: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

type Make = (url: string, prefix: string, fixed: SessionData) => Promise<Contender>;

/** What a local cache is given, ours and node-redis's. */
const CACHE = { ttlMs: 30_000, entries: 10_000 };

/** The floor: it does nothing at all. */
class NullStore extends Store {
  readonly #fixed: SessionData;

  constructor(fixed: SessionData) {
    super();
    this.#fixed = fixed;
  }

  override get(_sid: string, callback: (error: unknown, session: SessionData) => void): void {
    callback(null, { ...this.#fixed, cookie: { ...this.#fixed.cookie } } as SessionData);
  }

  override set(_sid: string, _session: SessionData, callback?: () => void): void {
    callback?.();
  }

  override touch(_sid: string, _session: SessionData, callback?: () => void): void {
    callback?.();
  }

  override destroy(_sid: string, callback?: () => void): void {
    callback?.();
  }
}

/** The floor of whoever gives each request a session of its own: of as many as are asked for, a copy each. */
class CopyingNullStore extends NullStore {
  readonly #text: string;
  readonly #sessions = new Map<string, SessionData>();

  constructor(fixed: SessionData) {
    super(fixed);
    this.#text = JSON.stringify(fixed);
  }

  override get(sid: string, callback: (error: unknown, session: SessionData) => void): void {
    const held = this.#sessions.get(sid) ?? (JSON.parse(this.#text) as SessionData);
    this.#sessions.set(sid, held);
    callback(null, cloneJson(held));
  }
}

const alone = (store: Store): Contender => ({
  store,
  published: () => 0,
  ping: async () => undefined,
  close: async () => {},
});

const connectRedis =
  (ConnectRedis: typeof ConnectRedis9 | typeof ConnectRedis10): Make =>
  async (url, prefix) => {
    const client = createClient({ url });
    await client.connect();
    const store = new ConnectRedis({ client, prefix });
    return { ...alone(store), ping: () => client.ping(), close: () => client.close() };
  };

/** Each EXPIRE of a touch invalidates what the client has cached, so that `disableTouch` decides whether the cache is of use. */
const clientSideCache =
  (disableTouch: boolean): Make =>
  async (url, prefix) => {
    const cache = { ttl: CACHE.ttlMs, maxEntries: CACHE.entries, evictPolicy: "LRU" } as const;
    const client = createClient({ url, RESP: 3, clientSideCache: cache });
    await client.connect();
    const store = new ConnectRedis9({ client, prefix, disableTouch });
    return { ...alone(store), ping: () => client.ping(), close: () => client.close() };
  };

const ours =
  (localCache: boolean): Make =>
  async (url, prefix) => {
    const client = createClient({ url });
    await client.connect();
    const store = new ClusteredRedisStore({
      client,
      prefix,
      localCache: { enabled: localCache, ttlMs: CACHE.ttlMs, maxSize: CACHE.entries },
      cluster: { channel: prefix },
    });
    await store.ready();
    return {
      store,
      published: () => store.clusterStats.messagesPublished,
      ping: () => client.ping(),
      close: async () => {
        await store.close();
        client.destroy();
      },
    };
  };

/** By the name under which each is reported. */
export const CONTENDERS: Readonly<Record<ContenderName, Make>> = {
  "null store": async (_url, _prefix, fixed) => alone(new NullStore(fixed)),
  "null store that copies": async (_url, _prefix, fixed) => alone(new CopyingNullStore(fixed)),
  MemoryStore: async () => alone(new session.MemoryStore()),
  "connect-redis": connectRedis(ConnectRedis9),
  "connect-redis 10": connectRedis(ConnectRedis10),
  "connect-redis, client-side cache": clientSideCache(false),
  "connect-redis, client-side cache, disableTouch": clientSideCache(true),
  ours: ours(true),
  "ours, cache off": ours(false),
};
