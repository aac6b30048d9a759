import { createClient } from "redis";
import { type FaultProxy, startProxy } from "../support/fault-proxy.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import type { Held } from "./check-rest.ts";
import { type PlannedFault, planFaults } from "./fault-schedule.ts";
import { makeFault } from "./faults.ts";
import type { Options } from "./options.ts";
import { type RedisEvent, RedisRecord } from "./redis-record.ts";
import { Rig } from "./rig.ts";

export type DirectClient = ReturnType<typeof directClient>;

/** The proxies on a node's ways to Redis. */
export interface Ways {
  readonly data: FaultProxy;
  readonly bus: FaultProxy;
}

/** One Redis, and proxies between it and each node. */
export class SingleRig extends Rig {
  readonly redis: RedisServer;
  readonly direct: DirectClient;
  readonly #record: RedisRecord;
  readonly #ways = new Map<number, Ways>();
  /** While Redis is restarted nobody is let in: the record must hear everything from the beginning. */
  #restart: Promise<void> = Promise.resolve();

  private constructor(redis: RedisServer, direct: DirectClient) {
    super();
    this.redis = redis;
    this.direct = direct;
    this.#record = new RedisRecord(redis.url, this.prefix, this.clock);
  }

  static async start(options: Options): Promise<SingleRig> {
    const redis = await startRedis({ own: true });
    const direct = directClient(redis.url);
    await direct.connect();
    const rig = new SingleRig(redis, direct);
    await rig.#record.listen();
    await Promise.all(Array.from({ length: options.nodes }, (_, index) => rig.#connect(index, options)));
    return rig;
  }

  async #connect(index: number, options: Options): Promise<void> {
    const [data, bus] = await Promise.all([startProxy(this.redis.url), startProxy(this.redis.url)]);
    this.#ways.set(index, { data, bus });
    const pool = index >= options.nodes / 2;
    const access = { kind: "single", dataUrl: data.url, busUrl: bus.url, pool } as const;
    // Shorter than the lease where there is a pool, so that writes time out there while hits are still served.
    await this.startNode(index, options, access, pool ? 150 : 1_000);
  }

  waysOf(node: number): Ways {
    return this.#ways.get(node) as Ways;
  }

  override planFaults(options: Options, seed: number, ms: number): readonly (readonly PlannedFault[])[] {
    return planFaults(options, seed, ms);
  }

  override async begin(): Promise<void> {}

  override makeFault(fault: PlannedFault, sids: readonly string[]): Promise<void> {
    return makeFault(this, fault, sids);
  }

  override async calm(): Promise<void> {
    const proxies = [...this.#ways.values()].flatMap(({ data, bus }) => [data, bus]);
    await Promise.all(proxies.map((proxy) => this.heal(proxy)));
  }

  override quiet(ms: number): Promise<void> {
    return this.#record.quiet(ms);
  }

  override async read(sid: string): Promise<Held> {
    const key = this.prefix + sid;
    const [text, ttl] = await Promise.all([this.direct.get(key), this.direct.pTTL(key)]);
    return { text, endsAt: Number(ttl) >= 0 ? Date.now() + Number(ttl) : undefined };
  }

  override async takeEvents(): Promise<readonly RedisEvent[]> {
    await this.#record.caughtUp(this.direct);
    return this.#record.events.splice(0);
  }

  /** Restarts Redis, empty. */
  async restart(): Promise<void> {
    const restarting = async () => {
      for (const { data, bus } of this.#ways.values()) {
        data.refuse();
        bus.refuse();
      }
      const at = this.clock.now();
      await this.redis.kill();
      await this.#record.restarted(at);
      await this.redis.restart();
      await this.#record.listen();
      for (const { data, bus } of this.#ways.values()) {
        data.accept();
        bus.accept();
      }
    };
    this.#restart = restarting();
    await this.#restart;
  }

  /** Ends all faults of a proxy. */
  async heal(proxy: FaultProxy): Promise<void> {
    await this.#restart;
    proxy.pass();
  }

  protected override async stopRedis(): Promise<void> {
    this.#record.close();
    this.direct.destroy();
    await Promise.all([...this.#ways.values()].flatMap(({ data, bus }) => [data.close(), bus.close()]));
    await this.redis.stop();
  }
}

/** A client past all proxies, for the checker itself. */
function directClient(url: string) {
  const client = createClient({ url, name: "checker", socket: { reconnectStrategy: 50 } });
  client.on("error", () => {});
  return client;
}
