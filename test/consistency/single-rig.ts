import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "redis";
import { type FaultProxy, startProxy } from "../support/fault-proxy.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import type { Held } from "./check-rest.ts";
import { type PlannedFault, planFaults } from "./fault-schedule.ts";
import { makeFault } from "./faults.ts";
import { isImpatient, type Options, usesPool } from "./options.ts";
import { UNKNOWN_OWNER } from "./protocol.ts";
import { Random } from "./random.ts";
import { type RedisEvent, RedisRecord } from "./redis-record.ts";
import { Rig, type Unindexed } from "./rig.ts";

/** With `--pool`, for each connection and direction. */
const MAX_CONNECTION_DELAY_MS = 30;
/** A replica copies an empty server well within that. */
const REPLICATION_MS = 5_000;
/** So many that a SCAN finds some early. */
const UNREADABLE = 20;
const UNREADABLE_MS = 10_000;

/**
 * The sessions with an owner whose index entry is missing or ends before they do, at one moment.
 *
 * Input: KEYS the sessions; ARGV[1] the store's prefix.
 * Output: for each its position, its owner, and by how many milliseconds the entry ends too early, -1 if it is missing.
 */
const AUDIT = `local time = redis.call("TIME")
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for i, key in ipairs(KEYS) do
  local text, ttlMs = redis.call("GET", key), redis.call("PTTL", key)
  local owner = text and cjson.decode(text).u
  if owner and owner ~= "${UNKNOWN_OWNER}" then
    local endsKey = "idx:{" .. ARGV[1] .. owner .. "}:" .. #ARGV[1] .. ":ends"
    local score = redis.call("ZSCORE", endsKey, string.sub(key, #ARGV[1] + 1))
    if not score then found[#found + 1] = {i, owner, -1}
    elseif tonumber(score) < nowMs + ttlMs - 2 then found[#found + 1] = {i, owner, nowMs + ttlMs - tonumber(score)} end
  end
end
return found`;

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
  /** An empty server that Redis becomes a replica of. */
  readonly #other: RedisServer;
  /** While Redis is restarted nobody is let in: the record must hear everything from the beginning. */
  #restart: Promise<void> = Promise.resolve();

  private constructor(redis: RedisServer, other: RedisServer, direct: DirectClient) {
    super();
    this.redis = redis;
    this.#other = other;
    this.direct = direct;
    this.#record = new RedisRecord(redis.url, this.prefix, this.clock);
  }

  static async start(options: Options): Promise<SingleRig> {
    const args = ["--repl-diskless-sync-delay", "0"];
    const [redis, other] = await Promise.all([startRedis({ own: true }), startRedis({ own: true, args })]);
    const direct = directClient(redis.url);
    await direct.connect();
    const rig = new SingleRig(redis, other, direct);
    await rig.#record.listen();
    await Promise.all(Array.from({ length: options.nodes }, (_, index) => rig.#connect(index, options)));
    return rig;
  }

  async #connect(index: number, options: Options): Promise<void> {
    const random = new Random(options.seed + index);
    const connectionDelayMs = () => (options.pool ? random.between(0, MAX_CONNECTION_DELAY_MS + 1) : 0);
    const proxy = () => startProxy(this.redis.url, connectionDelayMs);
    const [data, bus] = await Promise.all([proxy(), proxy()]);
    this.#ways.set(index, { data, bus });
    const pool = usesPool(options, index);
    const access = { kind: "single", dataUrl: data.url, busUrl: bus.url, pool } as const;
    await this.startNode(index, options, access, isImpatient(options, index) ? 150 : 1_000);
  }

  waysOf(node: number): Ways {
    return this.#ways.get(node) as Ways;
  }

  override planFaults(options: Options, seed: number, ms: number): readonly (readonly PlannedFault[])[] {
    return planFaults(options, seed, ms);
  }

  override async begin(sids: readonly string[]): Promise<void> {
    this.#record.follow(sids);
  }

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

  override async auditIndex(sids: readonly string[]): Promise<readonly Unindexed[]> {
    const at = this.clock.now();
    const found = (await this.direct.eval(AUDIT, {
      keys: sids.map((sid) => this.prefix + sid),
      arguments: [this.prefix],
    })) as unknown as readonly [number, string, number][];
    return found.map(([position, owner, missingMs]) => ({
      ...{ at, owner: String(owner), sid: sids[Number(position) - 1] as string },
      missingMs: Number(missingMs) < 0 ? undefined : Number(missingMs),
    }));
  }

  override async loseIndex(owners: readonly string[]): Promise<void> {
    for (const owner of owners) {
      const value = `idx:{${this.prefix}${owner}}:${this.prefix.length}`;
      await this.direct.del([`${value}:ends`, `${value}:since`]);
    }
    const expiration = { type: "PX", value: UNREADABLE_MS } as const;
    for (let i = 0; i < UNREADABLE; i++) {
      await this.direct.set(`${this.prefix}unreadable-${i}`, "{", { expiration });
    }
  }

  /** Redis becomes the replica of an empty server, with all connections open, and then a primary again. @param meanwhile called when it is empty */
  async becomeReplica(meanwhile: () => Promise<void>): Promise<void> {
    const { hostname, port } = new URL(this.#other.url);
    const at = this.clock.now();
    await this.direct.sendCommand(["REPLICAOF", hostname, port]);
    await this.#record.caughtUp(this.direct);
    const end = at + REPLICATION_MS;
    while ((await this.direct.dbSize()) > 0 && this.clock.now() < end) await pause(2);
    const isEmpty = (await this.direct.dbSize()) === 0;
    if (isEmpty) this.#record.emptied(at, this.clock.now());
    await meanwhile();
    await this.direct.sendCommand(["REPLICAOF", "NO", "ONE"]);
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

  /** Writes past all nodes. What has become of it, the record tells. */
  async write(command: string[]): Promise<void> {
    await this.#restart;
    await this.direct.sendCommand(command).catch(() => {});
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
    await Promise.all([this.redis.stop(), this.#other.stop()]);
  }
}

/** A client past all proxies, for the checker itself. */
function directClient(url: string) {
  const client = createClient({ url, name: "checker", socket: { reconnectStrategy: 50 } });
  client.on("error", () => {});
  return client;
}
