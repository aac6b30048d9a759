import { createClient } from "redis";
import { eventually } from "../eventually.ts";
import { type FaultProxy, startProxy } from "../fault-proxy.ts";
import { startRedis } from "../redis-server.ts";
import type { RedisServer } from "./server.ts";

type Admin = ReturnType<typeof createClient>;

/** One server of a Redis Cluster. */
export interface ClusterNode {
  readonly url: string;
  readonly port: number;
  readonly id: string;
  readonly server: RedisServer;
  /** A command past all clients under test. */
  run(...args: string[]): Promise<unknown>;
}

/** A Redis Cluster of child processes or containers. */
export interface RedisCluster {
  readonly nodes: readonly ClusterNode[];
  /** As a user would list them. */
  readonly rootNodes: { url: string }[];
  /** Those that are alive and serve slots now, as `from` sees it. */
  primaries(from?: ClusterNode): Promise<readonly ClusterNode[]>;
  /** The proxies before the nodes' bus ports, if asked for. */
  readonly buses: readonly FaultProxy[];
  /** The primary that serves the key's slot, and one of its replicas. */
  ownersOf(key: string): Promise<{ primary: ClusterNode; replica: ClusterNode }>;
  slotOf(key: string): Promise<number>;
  /** Gives a server the greatest epoch, so that it needs no other for the slots that it takes over. */
  makeNewest(node: ClusterNode): Promise<void>;
  /**
   * Takes a slot from one primary to another, key by key, as `redis-cli --cluster reshard` does. There is no new epoch when the
   * slot gets its new primary, as with all slots but the first that a server takes over.
   * @param halfway called when half of the keys have moved
   * @param atEnd called when the old primary, which is busy, has been sent the last command: it reads what is sent to it now after that
   */
  moveSlot(
    slot: number,
    from: ClusterNode,
    to: ClusterNode,
    halfway?: () => Promise<void>,
    atEnd?: () => void,
  ): Promise<void>;
  /** Has a replica take over from its primary in peace, and resolves when it has. */
  failOver(replica: ClusterNode): Promise<void>;
  /** Resolves when every node says that all slots are served, and agrees on who serves them. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterStartOptions {
  /** @default 3 */
  readonly primaries?: number;
  /** Whether each primary has one. @default true */
  readonly replicas?: boolean;
  /** Primaries without slots, and without replicas. @default 0 */
  readonly spares?: number;
  /** Whether a proxy stands before each node's bus port, so that the links between nodes can be cut. @default false */
  readonly busProxies?: boolean;
  /** @default 2_000 */
  readonly nodeTimeoutMs?: number;
  /** More arguments for each server. */
  readonly args?: readonly string[];
}

/** A script that takes some hundred milliseconds. */
export const BUSY = "for i = 1, 3e7 do end";

const SLOTS = 16_384;
const BUS = 10_000;
const KEYS_AT_ONCE = 10;
/** By then all servers know of a slot's new primary, unless an election has come in between. */
const AGREEMENT_MS = 2_000;
/** A failover that is not over by then has been aborted. */
const ABORTED_MS = 6_000;

/** Starts the servers, joins them, and gives each primary its slots and its replica. */
export async function startCluster(options: ClusterStartOptions = {}): Promise<RedisCluster> {
  const size = options.primaries ?? 3;
  const members = options.replicas === false ? size : size * 2;
  const args = [
    ...["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"],
    ...["--cluster-node-timeout", String(options.nodeTimeoutMs ?? 2_000)],
    // A replica that has just been made one is to be good enough to take over.
    ...[
      "--cluster-replica-validity-factor",
      "0",
      "--repl-ping-replica-period",
      "1",
      "--repl-diskless-sync-delay",
      "0",
    ],
    ...(options.args ?? []),
  ];
  const started = await Promise.allSettled(
    Array.from({ length: members + (options.spares ?? 0) }, () =>
      startRedis({ own: true, atLoopback: true, args }),
    ),
  );
  const nodes = started.flatMap((result) =>
    result.status === "fulfilled" ? [new StartedNode(result.value)] : [],
  );
  const cluster = new StartedCluster(nodes, members);
  try {
    for (const result of started) if (result.status === "rejected") throw result.reason;
    await cluster.form(size, options.busProxies ?? false);
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

class StartedNode implements ClusterNode {
  readonly server: RedisServer;
  readonly url: string;
  readonly port: number;
  id = "";
  busPort: number;
  readonly #admin: Admin;

  constructor(server: RedisServer) {
    this.server = server;
    this.url = server.url;
    this.port = Number(new URL(server.url).port);
    this.busPort = this.port + BUS;
    this.#admin = createClient({
      url: server.url,
      socket: { reconnectStrategy: 50 },
      disableOfflineQueue: true,
    });
    this.#admin.on("error", () => {});
  }

  async run(...args: string[]): Promise<unknown> {
    if (!this.#admin.isOpen) this.#admin.connect().catch(() => {});
    await eventually(() => this.#admin.isReady, { what: `${this.url} is there` });
    return this.#admin.sendCommand(args);
  }

  async stop(): Promise<void> {
    if (this.#admin.isOpen) this.#admin.destroy();
    await this.server.stop();
  }
}

interface SlotRange {
  readonly from: number;
  readonly to: number;
  /** The primary's port, then its replicas'. */
  readonly ports: readonly number[];
}

class StartedCluster implements RedisCluster {
  readonly nodes: readonly StartedNode[];
  readonly buses: FaultProxy[] = [];
  /** How many nodes serve slots, or replicate those who do, at least. */
  readonly #members: number;

  constructor(nodes: readonly StartedNode[], members: number) {
    this.nodes = nodes;
    this.#members = members;
  }

  get rootNodes(): { url: string }[] {
    return this.nodes.map(({ url }) => ({ url }));
  }

  async form(size: number, busProxies: boolean): Promise<void> {
    const [first] = this.nodes as [StartedNode];
    for (const [i, node] of this.nodes.entries()) {
      node.id = String(await node.run("CLUSTER", "MYID"));
      await node.run("CLUSTER", "SET-CONFIG-EPOCH", String(i + 1));
      if (busProxies) await this.#putProxyBefore(node);
      if (node !== first)
        await node.run("CLUSTER", "MEET", "127.0.0.1", String(first.port), String(first.busPort));
    }
    for (let i = 0; i < size; i++) {
      const [from, to] = [Math.floor((i * SLOTS) / size), Math.floor(((i + 1) * SLOTS) / size)];
      const slots = Array.from({ length: to - from }, (_, slot) => String(from + slot));
      await this.#node(i).run("CLUSTER", "ADDSLOTS", ...slots);
    }
    for (const node of this.nodes) {
      await eventually(async () => (await this.#knownTo(node)) === this.nodes.length);
    }
    for (let i = size; i < this.#members; i++) {
      await this.#node(i).run("CLUSTER", "REPLICATE", this.#node(i - size).id);
    }
    await this.settled();
  }

  async #putProxyBefore(node: StartedNode): Promise<void> {
    const bus = await startProxy(`redis://127.0.0.1:${node.busPort}`);
    this.buses.push(bus);
    node.busPort = bus.port;
    await node.run("CONFIG", "SET", "cluster-announce-bus-port", String(bus.port));
  }

  async primaries(from?: ClusterNode): Promise<readonly ClusterNode[]> {
    const ranges = await this.#ranges(from ?? (await this.#anyAlive()));
    return this.nodes.filter(({ port }) => ranges.some(({ ports }) => ports[0] === port));
  }

  async ownersOf(key: string): Promise<{ primary: ClusterNode; replica: ClusterNode }> {
    const [primary, replica] = await this.#portsOf(await this.slotOf(key), await this.#anyAlive());
    const nodeAt = (port: number | undefined) => this.nodes.find((node) => node.port === port) as ClusterNode;
    return { primary: nodeAt(primary), replica: nodeAt(replica) };
  }

  async slotOf(key: string): Promise<number> {
    return Number(await (await this.#anyAlive()).run("CLUSTER", "KEYSLOT", key));
  }

  async moveSlot(
    slot: number,
    from: ClusterNode,
    to: ClusterNode,
    halfway: () => Promise<void> = async () => {},
    atEnd?: () => void,
  ): Promise<void> {
    await this.makeNewest(to);
    await to.run("CLUSTER", "SETSLOT", String(slot), "IMPORTING", from.id);
    await from.run("CLUSTER", "SETSLOT", String(slot), "MIGRATING", to.id);
    const half = Math.ceil(Number(await from.run("CLUSTER", "COUNTKEYSINSLOT", String(slot))) / 2);
    for (let first = true; ; first = false) {
      const count = first ? half : KEYS_AT_ONCE;
      const keys = (await from.run("CLUSTER", "GETKEYSINSLOT", String(slot), String(count))) as string[];
      if (keys.length === 0) break;
      await from.run("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys.map(String));
      if (first) await halfway();
    }
    // An election meanwhile may give the old owner, or another, the same epoch, and then it may take the slot back. So the
    // command is repeated until they agree, as `redis-cli --cluster fix` would.
    const others = (await this.primaries()).filter((node) => node !== to && node !== from);
    const set = ["CLUSTER", "SETSLOT", String(slot), "NODE", to.id] as const;
    const agreed = async (attempt: number) => {
      for (const node of [to, ...others]) await node.run(...set);
      const busy = attempt === 1 && atEnd && from.run("EVAL", BUSY, "0");
      const last = from.run(...set);
      if (busy) atEnd();
      await Promise.all([busy, last]);
      if (attempt > 1) await this.makeNewest(to);
      // Long enough on a busy machine, too: a second attempt makes a new epoch.
      const areAgreed = async () => {
        const views = await Promise.all(this.nodes.map((node) => this.#portsOf(slot, node)));
        return views.every(([owner]) => owner === to.port);
      };
      await eventually(areAgreed, { timeoutMs: AGREEMENT_MS });
      return true;
    };
    let attempts = 0;
    await eventually(() => agreed(++attempts), { what: `slot ${slot} belongs to ${to.port}` });
  }

  async makeNewest(node: ClusterNode): Promise<void> {
    await node.run("CLUSTER", "BUMPEPOCH");
    const epochOf = async (each: StartedNode) =>
      /cluster_current_epoch:(\d+)/.exec(String(await each.run("CLUSTER", "INFO")))?.[1];
    await eventually(async () => new Set(await Promise.all(this.nodes.map(epochOf))).size === 1, {
      what: "the servers of the Cluster know the same epoch",
    });
  }

  async failOver(replica: ClusterNode): Promise<void> {
    const isDone = async () => String((await replica.run("ROLE")) as unknown[]).startsWith("master");
    // Servers abort one that takes longer than five seconds, and do not repeat it.
    await eventually(async () => {
      if (await isDone()) return true;
      await replica.run("CLUSTER", "FAILOVER");
      return eventually(isDone, { timeoutMs: ABORTED_MS });
    });
  }

  async settled(): Promise<void> {
    await eventually(
      async () => {
        const views = await Promise.all(this.nodes.map((node) => this.#viewOf(node)));
        if (views.every((view) => view !== undefined && view === views[0])) return true;
        throw new Error(views.map((view, i) => `${this.#node(i).port}: ${view ?? "not well"}`).join("\n"));
      },
      { what: "the servers of the Cluster agree on who serves what" },
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await Promise.all(this.buses.map((bus) => bus.close()));
  }

  #node(i: number): StartedNode {
    return this.nodes[i] as StartedNode;
  }

  async #anyAlive(): Promise<ClusterNode> {
    const answering = async (node: ClusterNode): Promise<ClusterNode> => {
      await node.run("PING");
      return node;
    };
    return Promise.any(this.nodes.map(answering));
  }

  async #knownTo(node: ClusterNode): Promise<number> {
    const lines = String(await node.run("CLUSTER", "NODES"))
      .trim()
      .split("\n");
    return lines.filter((line) => !line.includes("handshake")).length;
  }

  /** Who serves what with which replicas, in words; undefined while something is amiss. */
  async #viewOf(node: ClusterNode): Promise<string | undefined> {
    if (!String(await node.run("CLUSTER", "INFO")).includes("cluster_state:ok")) return undefined;
    const info = String(await node.run("INFO", "replication"));
    if (info.includes("role:slave") && !info.includes("master_link_status:up")) return undefined;
    const ranges = await this.#ranges(node);
    const all = new Set(ranges.flatMap(({ ports }) => ports));
    return all.size >= this.#members ? JSON.stringify(ranges) : undefined;
  }

  /** The ports of the slot's primary and of its replicas, as the node sees it. */
  async #portsOf(slot: number, node: ClusterNode): Promise<readonly number[]> {
    const ranges = await this.#ranges(node);
    return ranges.find(({ from, to }) => from <= slot && slot <= to)?.ports ?? [];
  }

  async #ranges(node: ClusterNode): Promise<SlotRange[]> {
    const reply = (await node.run("CLUSTER", "SLOTS")) as [number, number, ...[string, number][]][];
    const ranges = reply.map(([from, to, ...owners]) => {
      const ports = owners.map(([, port]) => Number(port));
      return { from, to, ports: [ports[0] as number, ...ports.slice(1).sort()] };
    });
    return ranges.sort((a, b) => a.from - b.from);
  }
}
