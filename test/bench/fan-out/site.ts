import { createClient } from "redis";
import { startCluster } from "../../support/redis/cluster.ts";
import { startRedis } from "../../support/redis-server.ts";
import { redisWork, since } from "../support/redis-info.ts";
import { Remote } from "../support/rpc.ts";
import type { handlers as nodeHandlers, ReadOptions } from "./node.ts";
import { type Cost, cachingIn, type Mode } from "./plan.ts";
import type { handlers as subscriberHandlers } from "./subscribers.ts";

const PER_SECOND = 1_000;
const here = (file: string) => new URL(file, import.meta.url);

/** A Redis, or a Cluster without replicas, and the processes that use it. */
export class Site {
  readonly redisVersion: string;
  readonly #looking: readonly ReturnType<typeof createClient>[];
  readonly #writer: Remote<typeof nodeHandlers>;
  readonly #listener: Remote<typeof nodeHandlers>;
  /** On the primary that holds the sessions. */
  readonly #others: Remote<typeof subscriberHandlers>;
  readonly #stopServers: () => Promise<void>;
  #sessions: readonly string[] = [];

  private constructor(
    urls: readonly string[],
    args: readonly string[],
    version: string,
    stop: () => Promise<void>,
  ) {
    const [url] = urls as [string];
    this.redisVersion = version;
    this.#looking = urls.map((url) => createClient({ url }) as unknown as ReturnType<typeof createClient>);
    this.#writer = new Remote(here("node.ts"), [url, ...args]);
    this.#listener = new Remote(here("node.ts"), [url, ...args]);
    this.#others = new Remote(here("subscribers.ts"), [url]);
    this.#stopServers = stop;
  }

  static async single(): Promise<Site> {
    const server = await startRedis({ own: true });
    return new Site([server.url], [], server.version, () => server.stop()).#prepare();
  }

  static async cluster(primaries: number): Promise<Site> {
    const cluster = await startCluster({ primaries, replicas: false, nodeTimeoutMs: 60_000 });
    const { primary } = await cluster.ownersOf("{fan}");
    const urls = [primary, ...cluster.nodes.filter((node) => node !== primary)].map(({ url }) => url);
    return new Site(urls, ["cluster"], primary.server.version, () => cluster.stop()).#prepare();
  }

  async #prepare(): Promise<this> {
    for (const client of this.#looking) await client.connect();
    await this.#writer.call("fill");
    this.#sessions = await this.#writer.call("channels");
    return this;
  }

  /** The writer caches what it writes, and the listener if anybody else does. */
  async fanOut(mode: Mode, processes: number, forMs: number): Promise<Cost> {
    const caching = cachingIn(mode, processes);
    const sharedChannel = mode === "shared" ? { sharedChannel: "all" } : {};
    await this.#subscribe(processes - 2, caching - 2, mode === "shared" ? "all" : "fan");
    await this.#listener.call(caching >= 2 ? "cacheAll" : "cacheNone");
    return this.#cost(() => this.#writer.call("write", { perSecond: PER_SECOND, forMs, ...sharedChannel }));
  }

  /** Without writes: what the time costs that as many writes would take. */
  async idle(forMs: number): Promise<Cost> {
    return this.#cost(async () => {
      await new Promise((resolve) => setTimeout(resolve, forMs));
      return (forMs * PER_SECOND) / 1000;
    });
  }

  async readOnce(options: ReadOptions): Promise<Cost> {
    await this.#listener.call("cacheNone");
    return this.#cost(() => this.#listener.call("readOnce", options));
  }

  /** Redis's memory for a subscription to a session that so many processes cache, in bytes. */
  async bytesPerSubscription(caching: number): Promise<number> {
    const [redis] = this.#looking as [ReturnType<typeof createClient>];
    const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
    await this.#writer.call("cacheNone");
    await this.#listener.call("cacheNone");
    await this.#subscribe(caching, 0);
    const before = await used();
    await this.#subscribe(caching, caching);
    // What a connection reads and writes through does not belong to it for long.
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    return ((await used()) - before) / (caching * this.#sessions.length);
  }

  /** How long an invalidation takes from the call of `set` to the event, and a PING between the writes: all in ms, in ascending order. */
  async latencies(count: number): Promise<{ invalidations: number[]; pings: number[] }> {
    await this.#subscribe(0, 0);
    await this.#listener.call("cacheAll");
    await this.#listener.call("recordInvalidations");
    const { began, pings } = await this.#writer.call("writeSlowly", count);
    const at = new Map(await this.#listener.call("recorded"));
    const tookNs = began.map(([sid, start]) => Number(BigInt(at.get(sid) ?? 0n) - BigInt(start)));
    const inMs = (ns: readonly number[]) => ns.map((each) => each / 1e6).toSorted((a, b) => a - b);
    return { invalidations: inMs(tookNs), pings: inMs(pings) };
  }

  async end(): Promise<void> {
    for (const remote of [this.#writer, this.#listener, this.#others]) await remote.end();
    for (const client of this.#looking) client.destroy();
    await this.#stopServers();
  }

  #subscribe(count: number, caching: number, shared = "fan"): Promise<void> {
    return this.#others.call("be", { count, shared: [shared], sessions: this.#sessions, caching });
  }

  /** @param act returns how often it did what is measured */
  async #cost(act: () => Promise<number>): Promise<Cost> {
    const work = () => Promise.all(this.#looking.map((client) => redisWork(client)));
    const before = await work();
    await this.#listener.call("cpuUs");
    const count = await act();
    const after = await work();
    const cpuUs = await this.#listener.call("cpuUs");
    const redisUs = before.map((each, i) => since(each, after[i] as typeof each).cpuUs / count);
    return { redisUs, nodeUs: cpuUs / count };
  }
}
