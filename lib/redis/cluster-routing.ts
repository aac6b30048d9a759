import { errorMessage } from "../reporting/errors.ts";
import { batchOn, type CommandBatch, type RedisStoreClient, type RedisSubscriberClient } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { slotOf } from "./key-slot.ts";
import type { ClientReadiness } from "./readiness.ts";

/** A client of one node, as a Cluster client makes them. */
export interface NodeClient extends RedisSubscriberClient {
  readonly isReady: boolean;
  readonly options?: { readonly disableOfflineQueue?: boolean };
  sendCommand(args: string[]): Promise<unknown>;
}

/** A node as a Cluster client knows it. */
export interface ClusterNode {
  readonly id: string;
  readonly address: string;
  readonly client?: NodeClient | undefined;
}

/** What is used of a Cluster client. */
interface ClusterClient extends RedisStoreClient {
  readonly masters: readonly ClusterNode[];
  readonly slots: readonly ({ readonly master: ClusterNode } | undefined)[];
  readonly nodeByAddress: ReadonlyMap<string, ClusterNode>;
  nodeClient(node: ClusterNode): NodeClient | Promise<NodeClient>;
  /** Not public, and so not relied on: without, a view that is out of date is renewed when a command is redirected. */
  readonly _slots?: { rediscover?(startWith: NodeClient): Promise<unknown> };
}

/** Gathers the commands of one round trip. */
export type Fill = (batch: CommandBatch) => CommandBatch;

const MOST_REDIRECTIONS = 16;
const REFRESH_MS = 250;

/**
 * Finds the primary that a key belongs to, and sends to it.
 *
 * node-redis routes by itself, but does not follow redirections of a pipeline (5: nor of a transaction), queues for a
 * primary that died what only its successor could answer, and reads from replicas if its user wants that elsewhere. Here
 * everything goes to the primary, since what a replica answers may be older than a message that was heard; nothing waits
 * in a queue; and nothing is sent once its deadline has passed.
 *
 * A transaction that is redirected has not been carried out, so it is sent again. One that got lost with its connection may
 * have been: it is not.
 */
export class ClusterRoutes {
  readonly #cluster: ClusterClient;
  readonly #readiness: ClientReadiness;
  #refreshing: Promise<unknown> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;
  #turn = 0;

  constructor(cluster: RedisStoreClient, readiness: ClientReadiness) {
    this.#cluster = cluster as ClusterClient;
    this.#readiness = readiness;
  }

  /** The primaries as the client knows them. */
  get primaries(): readonly ClusterNode[] {
    return this.#cluster.masters;
  }

  /** Sends to the primary of `key`, as a transaction if told to. @returns the replies */
  async toPrimaryOf(deadline: Deadline, key: string, fill: Fill, asUnit: boolean): Promise<unknown[]> {
    const slot = slotOf(key);
    const primary = () => this.#cluster.slots[slot]?.master;
    let find = primary;
    let isAsking = false;
    for (let redirections = 0; ; redirections++) {
      const client = await this.#ready(deadline, find);
      try {
        return await this.#exec(client, fill, asUnit, isAsking);
      } catch (error) {
        const [, kind, address] = /^(ASK|MOVED) \d+ (\S+)/.exec(errorMessage(error)) ?? [];
        if (address === undefined || redirections === MOST_REDIRECTIONS) throw error;
        const isStale = () => primary()?.client === client;
        isAsking = kind === "ASK";
        if (!isAsking && isStale()) await this.#refresh(client);
        find = isAsking || isStale() ? () => this.#cluster.nodeByAddress.get(address) : primary;
      }
    }
  }

  /** Sends to one primary, or to any. @returns the replies */
  async toNode(
    deadline: Deadline,
    node: ClusterNode | undefined,
    fill: Fill,
    asUnit: boolean,
  ): Promise<unknown[]> {
    const find = () => {
      if (node !== undefined && !this.primaries.includes(node))
        throw new Error("The node is no primary any more");
      return node ?? this.#anyReady();
    };
    return this.#exec(await this.#ready(deadline, find), fill, asUnit, false);
  }

  /** A client of the node, connected or about to be. */
  async clientOf(node: ClusterNode): Promise<NodeClient> {
    // It would never be closed: the Cluster client has forgotten the node.
    if (this.#cluster.nodeByAddress.get(node.address) !== node)
      throw new Error("The node has left the Cluster");
    return node.client ?? this.#cluster.nodeClient(node);
  }

  /** Has the client look at the Cluster anew, if it lets us. */
  async refresh(): Promise<void> {
    const client = this.#anyReady()?.client;
    if (client === undefined || performance.now() - this.#refreshedAt < REFRESH_MS) return;
    await this.#refresh(client);
  }

  /** A primary that can be talked to now, if there is one; another each time, since one alone might be behind for long. */
  #anyReady(): ClusterNode | undefined {
    const ready = this.primaries.filter(({ client }) => client?.isReady);
    return ready[this.#turn++ % ready.length] ?? this.primaries.find(({ client }) => client === undefined);
  }

  /** Once for all who find out at the same time. */
  #refresh(startWith: NodeClient): Promise<unknown> {
    const rediscover = async () => this.#cluster._slots?.rediscover?.(startWith);
    this.#refreshing ??= rediscover()
      .catch(() => {})
      .finally(() => {
        this.#refreshing = undefined;
        this.#refreshedAt = performance.now();
      });
    return this.#refreshing;
  }

  /** The client of the node to send to, as soon as it is connected; looks again while it waits, for a failover may pass. */
  async #ready(deadline: Deadline, find: () => ClusterNode | undefined): Promise<NodeClient> {
    if (deadline.passed) throw new Error("It took too long to find the node");
    const readyClient = () => {
      if (!this.#cluster.isOpen) throw new Error("The client is closed");
      const node = find();
      if (node?.client?.isReady) return node.client;
      if (node?.client?.options?.disableOfflineQueue)
        throw new Error("The node is offline, and disableOfflineQueue is set");
      if (node !== undefined && node.client === undefined) this.clientOf(node).catch(() => {});
      // node-redis 5 never, and 6 after 5 s, asks the others who follows a primary that is gone.
      else void this.refresh();
      return undefined;
    };
    return readyClient() ?? this.#readiness.until(deadline, readyClient);
  }

  async #exec(client: NodeClient, fill: Fill, asUnit: boolean, isAsking: boolean): Promise<unknown[]> {
    const batch = fill(batchOn(client));
    if (!isAsking) return asUnit ? batch.exec() : batch.execAsPipeline();
    // ASKING holds for what comes next: a transaction as a whole. Both are queued in this very turn.
    const [, replies] = await Promise.all([client.sendCommand(["ASKING"]), batch.exec()]);
    return replies;
  }
}
