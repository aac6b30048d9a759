import { createClient } from "redis";
import { eventually } from "../eventually.ts";
import { startRedis } from "../redis-server.ts";
import type { RedisServer, ServerSpec } from "./server.ts";

/** A primary and its replica, watched by three Sentinels: child processes or containers. */
export interface SentinelSet {
  readonly name: string;
  /** As a user would list them. */
  readonly sentinelRootNodes: { host: string; port: number }[];
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** The server that the Sentinels take for the primary. */
  primary(): Promise<RedisServer>;
  /** A command past all clients under test. */
  run(server: RedisServer, ...args: string[]): Promise<unknown>;
  /** Has the Sentinels make the replica the primary, and resolves when they have. */
  failOver(): Promise<void>;
  /** Resolves when all Sentinels know each other, the primary, and a replica that could follow it. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

const NAME = "mymaster";
const SENTINELS = 3;
/** A failover that is not over by then has been aborted. */
const ABORTED_MS = 6_000;

/** @param args more arguments for the primary and its replica */
export async function startSentinels(args: readonly string[] = []): Promise<SentinelSet> {
  const all: RedisServer[] = [];
  const stop = async () => {
    await Promise.all(all.map((server) => server.stop()));
  };
  const start = async (spec: ServerSpec) => {
    const server = await startRedis({ own: true, atLoopback: true, ...spec });
    all.push(server);
    return server;
  };
  try {
    const fast = ["--repl-ping-replica-period", "1", "--repl-diskless-sync-delay", "0", ...args];
    const primary = await start({ args: fast });
    const replicaOf = ["--replicaof", "127.0.0.1", String(portOf(primary))];
    const replica = await start({ args: [...fast, ...replicaOf] });
    const sentinels: RedisServer[] = [];
    for (let i = 0; i < SENTINELS; i++) sentinels.push(await start(sentinelOf(portOf(primary))));
    const set = new StartedSentinels([primary, replica], sentinels, stop);
    await set.settled();
    return set;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It writes what it learns into its configuration, so that must be a file. */
function sentinelOf(primaryPort: number): ServerSpec {
  const settings = [
    `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds ${NAME} 1000`,
    `sentinel failover-timeout ${NAME} 2000`,
    `sentinel parallel-syncs ${NAME} 1`,
  ];
  const files = { "sentinel.conf": `${settings.join("\n")}\n` };
  return { files, args: ["sentinel.conf", "--sentinel"] };
}

class StartedSentinels implements SentinelSet {
  readonly name = NAME;
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  readonly stop: () => Promise<void>;

  constructor(servers: readonly RedisServer[], sentinels: readonly RedisServer[], stop: () => Promise<void>) {
    this.servers = servers;
    this.sentinels = sentinels;
    this.stop = stop;
  }

  get sentinelRootNodes(): { host: string; port: number }[] {
    return this.sentinels.map((server) => ({ host: "127.0.0.1", port: portOf(server) }));
  }

  async primary(): Promise<RedisServer> {
    const [sentinel] = this.sentinels as [RedisServer];
    const [, port] = (await this.run(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)) as [
      string,
      string,
    ];
    return this.servers.find((server) => portOf(server) === Number(port)) as RedisServer;
  }

  async run(server: RedisServer, ...args: string[]): Promise<unknown> {
    const client = createClient({ url: server.url, socket: { reconnectStrategy: false } });
    client.on("error", () => {});
    await client.connect();
    try {
      return await client.sendCommand(args);
    } finally {
      client.destroy();
    }
  }

  async failOver(): Promise<void> {
    const [sentinel] = this.sentinels as [RedisServer];
    const before = await this.primary();
    const isDone = async () => (await this.primary()) !== before;
    // Sentinels abort a failover that takes longer than failover-timeout, and do not repeat it.
    await eventually(async () => {
      // Asked once more after it is done, they would fail over back.
      if (await isDone()) return true;
      await this.run(sentinel, "SENTINEL", "FAILOVER", NAME);
      return eventually(isDone, { timeoutMs: ABORTED_MS });
    });
  }

  async settled(): Promise<void> {
    for (const sentinel of this.sentinels) {
      await eventually(async () => {
        const text = JSON.stringify(await this.run(sentinel, "SENTINEL", "MASTERS"));
        const [replicas] = (await this.run(sentinel, "SENTINEL", "REPLICAS", NAME)) as unknown[];
        const isWhole = /"num-other-sentinels","2"/.test(text) || /"num-other-sentinels":"2"/.test(text);
        return isWhole && /master-link-status"[,:]"ok"/.test(JSON.stringify(replicas));
      });
    }
  }
}

function portOf({ url }: RedisServer): number {
  return Number(new URL(url).port);
}
