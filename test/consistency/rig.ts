import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { type FaultProxy, startProxy } from "../support/fault-proxy.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { Clock } from "./clock.ts";
import { NodeProcess } from "./node-process.ts";
import type { Options } from "./options.ts";
import type { EventRecord, NodeSettings, OperationRecord, PlannedOperation } from "./protocol.ts";
import { RedisRecord } from "./redis-record.ts";

export type DirectClient = ReturnType<typeof directClient>;

/** One node, and the two proxies on its ways to Redis. They outlive its process. */
export interface Node {
  readonly index: number;
  readonly data: FaultProxy;
  readonly bus: FaultProxy;
  readonly settings: NodeSettings;
  process: NodeProcess;
  /** What it has still to do in this round, should it have to be started anew. */
  plan: { readonly startedAt: number; readonly operations: readonly PlannedOperation[] } | undefined;
}

export interface Complaint {
  readonly node: number;
  readonly at: number;
  readonly text: string;
}

const LIBRARY = new URL("../../lib/index.ts", import.meta.url).href;

/** Everything that is checked: a Redis, the nodes, and what is needed to hurt them and to see what they do. */
export class Rig {
  readonly clock = new Clock();
  readonly nodes: Node[] = [];
  readonly redis: RedisServer;
  readonly direct: DirectClient;
  readonly record: RedisRecord;
  readonly prefix: string;
  readonly channel: string;
  operations: OperationRecord[] = [];
  events: EventRecord[] = [];
  complaints: Complaint[] = [];
  /** While Redis is restarted nobody is let in: the record must hear everything from the beginning. */
  #restart: Promise<void> = Promise.resolve();

  private constructor(redis: RedisServer, direct: DirectClient) {
    const id = randomUUID();
    this.prefix = `check:${id}:`;
    this.channel = `check:${id}`;
    this.redis = redis;
    this.direct = direct;
    this.record = new RedisRecord(redis.url, this.prefix, this.clock);
  }

  static async start(options: Options): Promise<Rig> {
    const redis = await startRedis({ own: true });
    const direct = directClient(redis.url);
    await direct.connect();
    const rig = new Rig(redis, direct);
    await rig.record.listen();
    await Promise.all(Array.from({ length: options.nodes }, (_, index) => rig.#startNode(index, options)));
    rig.nodes.sort((a, b) => a.index - b.index);
    return rig;
  }

  async #startNode(index: number, options: Options): Promise<void> {
    const [data, bus] = await Promise.all([startProxy(this.redis.url), startProxy(this.redis.url)]);
    const isPool = index >= options.nodes / 2;
    const settings: NodeSettings = {
      index,
      clockOrigin: this.clock.origin,
      dataUrl: data.url,
      busUrl: bus.url,
      prefix: this.prefix,
      channel: this.channel,
      library: process.env["CONSISTENCY_LIBRARY"] ?? LIBRARY,
      // Two were given the same label, as may well happen.
      label: index < 2 ? "twin" : `label-${index}`,
      name: `node-${index}`,
      merge: options.merge,
      asyncParse: index % 2 === 1,
      pool: isPool,
      // Shorter than the lease where there is a pool, so that writes time out there while hits are still served.
      commandTimeoutMs: isPool ? 150 : 1_000,
      cacheTtlMs: options.cacheTtlMs,
    };
    const node = { index, data, bus, settings, process: this.#spawn(settings), plan: undefined };
    this.nodes.push(node);
    await node.process.live();
  }

  #spawn(settings: NodeSettings): NodeProcess {
    return new NodeProcess(settings, {
      heard: (records, events) => {
        for (const record of records) this.operations.push(record);
        for (const event of events) this.events.push(event);
      },
      complained: (text) =>
        this.complaints.push({
          node: settings.index,
          at: this.clock.now(),
          text: `node-${settings.index}: ${text}`,
        }),
    });
  }

  /** Kills a node's process, and starts another in its place that goes on with its plan. */
  async replace(node: Node): Promise<void> {
    await node.process.kill();
    this.note(node.index, "killed");
    node.process = this.#spawn(node.settings);
    await node.process.live();
    this.note(node.index, "started anew");
    const { plan } = node;
    if (plan !== undefined) {
      node.process.play(plan.startedAt, this.clock.now() - plan.startedAt, plan.operations);
    }
  }

  /** Restarts Redis, empty. */
  async restart(): Promise<void> {
    const restarting = async () => {
      for (const { data, bus } of this.nodes) {
        data.refuse();
        bus.refuse();
      }
      const at = this.clock.now();
      await this.redis.kill();
      await this.record.restarted(at);
      await this.redis.restart();
      await this.record.listen();
      for (const { data, bus } of this.nodes) {
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

  /** Notes something for the histories; of Redis if `node` is -1. */
  note(node: number, name: string, detail?: string): void {
    this.events.push({ node, at: this.clock.now(), name, ...(detail !== undefined && { detail }) });
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.process.kill()));
    this.record.close();
    this.direct.destroy();
    await Promise.all(this.nodes.flatMap(({ data, bus }) => [data.close(), bus.close()]));
    await this.redis.stop();
  }
}

/** A client past all proxies, for the checker itself. */
function directClient(url: string) {
  const client = createClient({ url, name: "checker", socket: { reconnectStrategy: 50 } });
  client.on("error", () => {});
  return client;
}
