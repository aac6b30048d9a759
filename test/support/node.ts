import { randomUUID } from "node:crypto";
import type { EventEmitter } from "node:events";
import type { Request } from "express";
import type { SessionData } from "express-session";
import { createClient, type RedisClientOptions } from "redis";
import { inject, onTestFinished } from "vitest";
import {
  ClusteredRedisStore,
  type ClusteredRedisStoreOptions,
  type ClusterOptions,
} from "../../lib/index.ts";
import { eventually } from "./eventually.ts";
import { type FaultProxy, startProxy } from "./fault-proxy.ts";
import type { RedisServer } from "./redis/server.ts";
import { startRedis } from "./redis-server.ts";
import { shareClasses } from "./shared-classes.ts";

shareClasses(createClient);

export type Client = ReturnType<typeof createClient>;

/** Keys and a channel that no other test uses. */
export interface Space {
  readonly prefix: string;
  readonly channel: string;
}

export function newSpace(): Space {
  const id = randomUUID();
  // The channel does not begin with the prefix, or heartbeats would be taken for commands of the prefix's keys.
  return { prefix: `test:${id}:`, channel: `bus:${id}` };
}

/** A Redis for this test alone, because the test changes or stops the server, which others would notice. */
export async function ownRedis(): Promise<RedisServer> {
  const redis = await startRedis({ own: true });
  onTestFinished(() => redis.stop());
  return redis;
}

/** A client past all proxies, to look into Redis with. */
export async function directClient(options: RedisClientOptions = {}): Promise<Client> {
  const client = createClient({ url: inject("redisUrl"), ...options }) as unknown as Client;
  client.on("error", () => {});
  onTestFinished(() => client.destroy());
  await client.connect();
  return client;
}

/** One process of an application, as far as sessions go: a store, and a proxy on each of its two ways to Redis. */
export interface Node {
  readonly store: ClusteredRedisStore;
  readonly client: Client;
  /** On the way of the data client. */
  readonly data: FaultProxy;
  /** On the way of the subscriber. */
  readonly bus: FaultProxy;
}

export interface NodeOptions {
  readonly url?: string;
  readonly client?: RedisClientOptions;
  readonly cluster?: ClusterOptions;
  readonly store?: Partial<Omit<ClusteredRedisStoreOptions, "client" | "cluster">>;
  /** Whether sessions are read by the client even to be cached, as with a subscriber that speaks RESP 2. @default false */
  readonly readsOnClient?: boolean;
  /** Whether to wait until it is live. @default true */
  readonly live?: boolean;
  /** What to do to the proxies once the data client is connected and before the store is made. */
  readonly first?: (data: FaultProxy, bus: FaultProxy) => void;
}

/** A lease that does not lapse while a test holds replies back. */
export const LONG_LEASE = { heartbeatMs: 50, leaseMs: 120_000 } as const;
/** A lease for tests in which it is to lapse, and which a busy machine lets lapse seldom before. */
export const SHORT_LEASE = { heartbeatMs: 50, leaseMs: 1_000, subscribeTimeoutMs: 2_000 } as const;

export async function startNode(space: Space, options: NodeOptions = {}): Promise<Node> {
  const url = options.url ?? inject("redisUrl");
  const [data, bus] = await Promise.all([startProxy(url), startProxy(url)]);
  const client = createClient({ url: data.url, ...options.client }) as unknown as Client;
  client.on("error", () => {});
  await client.connect();
  options.first?.(data, bus);
  const store = new ClusteredRedisStore({
    client,
    prefix: space.prefix,
    ...options.store,
    cluster: {
      channel: space.channel,
      subscriber: options.readsOnClient
        ? () => {
            const socket = { reconnectStrategy: false } as const;
            return createClient({ url: bus.url, ...options.client, RESP: 2, socket });
          }
        : createClient({ url: bus.url, ...options.client }),
      ...LONG_LEASE,
      ...options.cluster,
    },
  });
  onTestFinished(async () => {
    data.pass();
    bus.pass();
    // That of node-redis 5 throws if a test has closed it.
    if (client.isOpen) client.destroy();
    await store.close();
    await Promise.all([data.close(), bus.close()]);
  });
  if (options.live !== false) await whenLive(store);
  return { store, client, data, bus };
}

/** Resolves when the store is live, however long a busy machine takes: `ready()` has a limit, which some tests make short. */
export async function whenLive(store: ClusteredRedisStore): Promise<void> {
  await eventually(() => store.clusterStats.state === "live", { what: "the store is live" });
}

/** What `ready()` says once Redis has refused: its limit may be over before that, or at another attempt that takes too long. */
export async function refusalWhenReady(store: ClusteredRedisStore, says: RegExp): Promise<Error> {
  const refusal = (error: Error) => (says.test(error.message) ? error : undefined);
  return eventually(async () => store.ready().then(() => undefined, refusal), {
    what: `ready() fails with ${says}`,
  }) as Promise<Error>;
}

/** Reads until the session is cached: nothing is while a lease has lapsed, or a message arrives during the read. */
export async function cacheIn(store: ClusteredRedisStore, sid: string): Promise<void> {
  const isCached = async () => (await store.get(sid)) !== null && store.localCache.peek(sid) !== undefined;
  await eventually(isCached, { what: `${sid} is cached` });
}

/** A session as express-session would store it, that lives for a minute by default. */
export function sessionOf(values: Record<string, unknown> = {}, maxAge: number | null = 60_000): SessionData {
  const expires = maxAge === null ? null : new Date(Date.now() + maxAge);
  const cookie = { originalMaxAge: maxAge, expires, httpOnly: true, path: "/" };
  return { cookie, ...values } as unknown as SessionData;
}

/** Writes a session and waits for the write's own message: one that arrives late would drop what is read meanwhile. */
export async function setAndReceive(
  store: ClusteredRedisStore,
  sid: string,
  session: SessionData,
): Promise<void> {
  const { messagesReceived } = store.clusterStats;
  await store.set(sid, session);
  await eventually(() => store.clusterStats.messagesReceived > messagesReceived);
}

/** The values of a session without its cookie; null when there is none. */
export function valuesOf(session: SessionData | null | undefined): Record<string, unknown> | null {
  if (session == null) return null;
  const { cookie: _, ...values } = session;
  return values;
}

/** Loads a session as a request does: the object is express-session's, and returns to the store. */
export async function loadAsRequest(store: ClusteredRedisStore, sid: string): Promise<SessionData> {
  const data = await store.get(sid);
  if (!data) throw new Error(`There is no session ${sid}`);
  return store.createSession({ sessionID: sid } as Request, data);
}

/** Sees every command of a space's keys that Redis executes. */
export async function watchCommands(space: Space, url = inject("redisUrl")): Promise<string[]> {
  const monitor = createClient({ url });
  monitor.on("error", () => {});
  onTestFinished(() => monitor.destroy());
  await monitor.connect();
  const commands: string[] = [];
  await monitor.monitor((line) => {
    const text = String(line);
    const [, command] = /"([^"]+)"/.exec(text) ?? [];
    const isMessage = new RegExp(`"publish" "${space.channel}:[\\w-]{22}"`, "i").test(text);
    if (command === undefined || isHeartbeat(text, space)) return;
    if (!isMessage && !text.includes(space.prefix)) return;
    commands.push(command.toUpperCase());
  });
  return commands;
}

/** A heartbeat publishes on a channel of its own, and deletes a key that never exists: a random id under the prefix. */
function isHeartbeat(command: string, { prefix, channel }: Space): boolean {
  return [channel, prefix].some((start) => {
    const [, name = ""] = command.split(start === channel ? `${channel}:` : prefix);
    return /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}"/.test(name);
  });
}

/** Whether it is one of the commands by which a store destroys a session. */
export function isOfDestroy(command: string): boolean {
  return ["EVALSHA", "EVAL", "DEL", "PUBLISH"].includes(command);
}

/** Records all events of a store. */
export function recordEvents(
  store: EventEmitter,
  names: readonly string[],
): { name: string; args: unknown[] }[] {
  const events: { name: string; args: unknown[] }[] = [];
  for (const name of names) store.on(name, (...args: unknown[]) => events.push({ name, args }));
  return events;
}
