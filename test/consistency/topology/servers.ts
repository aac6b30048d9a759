import { setTimeout as pause } from "node:timers/promises";
import { eventually } from "../../support/eventually.ts";
import { BUSY, type ClusterNode, type RedisCluster, startCluster } from "../../support/redis/cluster.ts";
import { type SentinelSet, startSentinels } from "../../support/redis/sentinel.ts";
import type { RedisServer } from "../../support/redis-server.ts";
import { type FaultKinds, MOVING_MS, RETURNING_MS } from "../fault-schedule.ts";
import type { Access } from "../protocol.ts";

/** What can be done to several servers that make one Redis. */
export interface Servers {
  readonly access: Access;
  readonly processes: readonly RedisServer[];
  /** @param isIndexed without failovers, in which what was acknowledged may be lost in one slot, and not in another */
  kinds(isIndexed: boolean): FaultKinds;
  /** The primary that a key belongs to. */
  primaryOf(key: string): Promise<RedisServer>;
  /** Resolves when another has taken over from a primary that was killed. */
  tookOver(killed: RedisServer): Promise<void>;
  /** After a killed one has been started again. */
  rejoin(server: RedisServer): Promise<void>;
  /** Has another take over in peace. */
  failover(key: string): Promise<void>;
  /**
   * Moves a key's slot to another primary, with time for reads and writes halfway.
   * @param atLast called at the end of that time
   * @param atEnd called when the old primary is about to learn that the slot has moved, before what it is sent now
   */
  moveSlot(key: string, ms: number, atLast?: () => Promise<void>, atEnd?: () => void): Promise<void>;
  /**
   * Takes a key's slot from its primary, and gives it back, at the end of a time in which the primary is busy and executes nothing
   * else. @param meanwhile called at the beginning of that time
   */
  returnSlot(key: string, meanwhile: () => void): Promise<void>;
  /** Resolves when all are there, and agree. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** For longer than the lease, so that what is missed meanwhile is served for longer than that. */
const HALF_MOVED_MS = 4_000;

const NODE_FAULTS = {
  ...{ killSubscriber: 3, killData: 3, lostReplies: 4 },
  ...{ stopNode: 2, killNode: 1, stepClock: 2 },
} as const;

export async function startServers(kind: "cluster" | "sentinel"): Promise<Servers> {
  return kind === "cluster"
    ? new ClusterServers(await startCluster())
    : new SentinelServers(await startSentinels(CUT_OFF));
}

class ClusterServers implements Servers {
  readonly access: Access;
  readonly #cluster: RedisCluster;

  constructor(cluster: RedisCluster) {
    this.#cluster = cluster;
    this.access = { kind: "cluster", rootNodes: cluster.rootNodes };
  }

  kinds(isIndexed: boolean): FaultKinds {
    const others = isIndexed ? { moveIndex: 4 } : { killPrimary: 2, stopPrimary: 2, failover: 2 };
    return {
      node: NODE_FAULTS,
      redis: { pauseClients: 2, pauseWrites: 2, ...others, moveSlots: 3, returnSlot: 3 },
      recoveryMs: {
        ...{ killPrimary: 9_000, stopPrimary: 7_000, failover: 2_500 },
        ...{ moveSlots: MOVING_MS, moveIndex: MOVING_MS / 2, returnSlot: RETURNING_MS },
      },
    };
  }

  get processes(): readonly RedisServer[] {
    return this.#cluster.nodes.map(({ server }) => server);
  }

  async primaryOf(key: string): Promise<RedisServer> {
    return (await this.#cluster.ownersOf(key)).primary.server;
  }

  async tookOver(killed: RedisServer): Promise<void> {
    const alive = this.#cluster.nodes.find(({ server }) => server !== killed) as ClusterNode;
    const isGone = async () =>
      (await this.#cluster.primaries(alive)).every(({ server }) => server !== killed);
    await eventually(isGone);
  }

  async rejoin(): Promise<void> {}

  async failover(key: string): Promise<void> {
    const { replica, primary } = await this.#cluster.ownersOf(key);
    await this.#cluster.failOver(replica);
    await this.tookOver(primary.server);
  }

  async moveSlot(key: string, ms: number, atLast = async () => {}, atEnd?: () => void): Promise<void> {
    const { primary: from } = await this.#cluster.ownersOf(key);
    const to = (await this.#cluster.primaries()).find((node) => node !== from) as ClusterNode;
    const halfway = async () => {
      await pause(HALF_MOVED_MS + ms);
      await atLast();
    };
    await this.#cluster.moveSlot(await this.#cluster.slotOf(key), from, to, halfway, atEnd);
  }

  async returnSlot(key: string, meanwhile: () => void): Promise<void> {
    const { primary } = await this.#cluster.ownersOf(key);
    const slot = String(await this.#cluster.slotOf(key));
    const commands = [
      ["EVAL", BUSY, "0"],
      ["CLUSTER", "DELSLOTS", slot],
      ["CLUSTER", "ADDSLOTS", slot],
    ];
    const running = commands.map((command) => primary.run(...command));
    meanwhile();
    await Promise.all(running);
  }

  settled(): Promise<void> {
    return this.#cluster.settled();
  }

  stop(): Promise<void> {
    return this.#cluster.stop();
  }
}

/** As the guide advises: an old primary without its replica then ends by itself. */
const CUT_OFF = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"];

class SentinelServers implements Servers {
  readonly access: Access;
  readonly #set: SentinelSet;

  constructor(set: SentinelSet) {
    this.#set = set;
    this.access = { kind: "sentinel", name: set.name, sentinelRootNodes: set.sentinelRootNodes };
  }

  kinds(): FaultKinds {
    return {
      node: NODE_FAULTS,
      redis: { pauseClients: 1, pauseWrites: 2, killPrimary: 2, failover: 2 },
      recoveryMs: { killPrimary: 14_000, failover: 8_000 },
    };
  }

  get processes(): readonly RedisServer[] {
    return this.#set.servers;
  }

  primaryOf(): Promise<RedisServer> {
    return this.#set.primary();
  }

  async tookOver(killed: RedisServer): Promise<void> {
    const { port } = new URL(killed.url);
    await eventually(async () => !(await this.#namedPorts()).includes(port));
  }

  /** The port of the primary that each Sentinel names. */
  #namedPorts(): Promise<string[]> {
    return Promise.all(
      this.#set.sentinels.map(async (sentinel) => {
        const reply = await this.#set.run(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", this.#set.name);
        return String((reply as unknown[])[1]);
      }),
    );
  }

  /** A server that was a primary when it was first started comes back as an empty one, until the Sentinels get round to it. */
  async rejoin(server: RedisServer): Promise<void> {
    const { port } = new URL((await this.#set.primary()).url);
    await this.#set.run(server, "REPLICAOF", "127.0.0.1", port);
  }

  async failover(): Promise<void> {
    await this.#set.failOver();
    // Not that another is primary now: one that is slow may have been asked for twice, and then leads back.
    await eventually(async () => new Set(await this.#namedPorts()).size === 1);
  }

  async moveSlot(): Promise<void> {}

  async returnSlot(): Promise<void> {}

  async settled(): Promise<void> {
    await this.#set.settled();
  }

  stop(): Promise<void> {
    return this.#set.stop();
  }
}
