import { setTimeout as pause } from "node:timers/promises";
import { errorMessage } from "../reporting/errors.ts";
import type { CommandBatch, Connection, RedisStoreClient, RedisSubscriberClient } from "./client.ts";
import { Connections } from "./connections.ts";
import type { Deadline } from "./deadlines.ts";
import { slotOf } from "./key-slot.ts";
import { until } from "./readiness.ts";
import type { Batch, BatchBuilder, Topology } from "./topology.ts";

/** A client of one node, as a Cluster client creates them. */
export interface NodeClient extends RedisSubscriberClient {
  readonly isReady: boolean;
  readonly options?: { readonly disableOfflineQueue?: boolean };
  multi(): CommandBatch;
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
  /** Not public, so not relied on: without it, an outdated view is renewed when a command is redirected. */
  readonly _slots?: { rediscover?(startWith: NodeClient): Promise<unknown> };
}

/**
 * Errors of a node that does not serve the slot now, and has executed nothing. TRYAGAIN: of several keys, like those of an index
 * value, only some are there while their slot moves.
 */
const REFUSED_FOR_NOW = /^(?:(ASK|MOVED) \d+ (\S+)|TRYAGAIN )/;
/** While a slot moves, nodes may redirect to each other. */
const REDIRECTIONS_BEFORE_PAUSE = 16;
const TRY_AGAIN_MS = 50;
const MIN_REFRESH_INTERVAL_MS = 250;
const MAX_REFRESH_MS = 500;

/**
 * Finds the primary of a key, and sends to it.
 *
 * node-redis routes by itself, but does not follow redirections of a pipeline (5: nor of a transaction), queues commands for
 * a primary that died which only its successor could answer, and reads from replicas if its user wants that elsewhere. Here
 * everything goes to the primary, since a replica's data may be older than an invalidation that has been received; nothing
 * waits in a queue; and nothing is sent after its deadline.
 *
 * A transaction that is redirected has not been executed, so it is sent again. One whose connection is lost may have been
 * executed, so it is not.
 */
export class ClusterRoutes {
  /** Those to the nodes. */
  readonly connections: Connections;
  readonly #cluster: ClusterClient;
  readonly #topology: Topology;
  #refreshing: Promise<unknown> | undefined;
  #refreshedAt = Number.NEGATIVE_INFINITY;
  #nextReady = 0;

  constructor(cluster: RedisStoreClient, topology: Topology) {
    this.#cluster = cluster as ClusterClient;
    this.#topology = topology;
    this.connections = new Connections(topology);
  }

  /** The primaries as the client knows them. */
  get primaries(): readonly ClusterNode[] {
    return this.#cluster.masters;
  }

  /** The primary with this id. @throws Error if the client knows none */
  primaryOf(id: string): ClusterNode {
    // Searched each time: a node that the client has lost for a moment is another object when it is back.
    const node = this.primaries.find((primary) => primary.id === id);
    if (node === undefined) throw new Error("The node is no longer a primary");
    return node;
  }

  /** The id of the primary of a slot; undefined if the client knows none, or is closed. */
  primaryIdOfSlot(slot: number): string | undefined {
    return this.#cluster.isOpen ? this.#cluster.slots[slot]?.master.id : undefined;
  }

  /** Sends a batch to its target. @returns the replies */
  async send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    const { target } = batch;
    if (typeof target === "object" && "key" in target) return this.#sendToKey(deadline, target.key, batch);
    const find = () => (target === "any" ? this.#anyReady() : this.primaryOf(target.primary));
    const client = await this.#readyClient(deadline, find);
    const replies = this.connections.execute(deadline, client.multi(), batch);
    return await this.connections.receive(client as Connection, batch, replies);
  }

  async #sendToKey(deadline: Deadline, key: string, batch: Batch): Promise<unknown[]> {
    const slot = slotOf(key);
    const primary = () => this.#cluster.slots[slot]?.master;
    let find = primary;
    let isAsking = false;
    for (let redirections = 1; ; redirections++) {
      const client = await this.#readyClient(deadline, find);
      try {
        const replies = isAsking
          ? this.#executeAsking(deadline, client, batch)
          : this.connections.execute(deadline, client.multi(), batch);
        return await this.connections.receive(client as Connection, batch, replies);
      } catch (error) {
        const [kind, , address = ""] = REFUSED_FOR_NOW.exec(errorMessage(error)) ?? [];
        if (kind === undefined) throw error;
        const isOutdated = () => primary()?.client === client;
        const named = () => this.#cluster.nodeByAddress.get(address);
        isAsking = kind.startsWith("ASK");
        find = isAsking ? named : primary;
        if (kind.startsWith("MOVED") && isOutdated()) {
          await this.#refresh(client);
          find = () => (isOutdated() ? named() : primary());
        }
        if (address === "" || redirections % REDIRECTIONS_BEFORE_PAUSE === 0)
          await pause(TRY_AGAIN_MS, undefined, { ref: false });
      }
    }
  }

  /** ASKING applies to the next command, or to a transaction as a whole. Both are queued in the same turn. */
  async #executeAsking(deadline: Deadline, client: NodeClient, batch: Batch): Promise<unknown[]> {
    const build: BatchBuilder = (commands) => batch.build(commands, true);
    const asking = client.sendCommand(["ASKING"]);
    const moving = { ...batch, mode: "transaction", build } as const;
    const [replies] = await Promise.all([this.connections.execute(deadline, client.multi(), moving), asking]);
    return replies;
  }

  /** The client of a node, connected or connecting. */
  async clientOf(node: ClusterNode): Promise<NodeClient> {
    // The Cluster client would never close the client of a node that it has dropped.
    if (this.#cluster.nodeByAddress.get(node.address) !== node)
      throw new Error("The node has left the Cluster");
    return node.client ?? this.#cluster.nodeClient(node);
  }

  /**
   * Makes the client discover the Cluster again, if it can. It asks the node that has answered last: a suspended one is connected,
   * too, but node-redis would wait for it without a limit, and its successor would stay unknown.
   */
  async refresh(): Promise<void> {
    const last = this.connections.lastAnswered as NodeClient | undefined;
    const client = last?.isReady ? last : this.#anyReady()?.client;
    if (client === undefined || performance.now() - this.#refreshedAt < MIN_REFRESH_INTERVAL_MS) return;
    await this.#refresh(client);
  }

  /** A connected primary, if there is one; another each time, since one alone might lag behind for long. */
  #anyReady(): ClusterNode | undefined {
    const ready = this.primaries.filter(({ client }) => client?.isReady);
    return (
      ready[this.#nextReady++ % ready.length] ?? this.primaries.find(({ client }) => client === undefined)
    );
  }

  /**
   * Callers that find out at the same time share one discovery. Resolves when it has ended, since node-redis closes its connections to
   * nodes that have left, or else after MAX_REFRESH_MS: for a node that does not answer, node-redis waits without a limit.
   */
  #refresh(startWith: NodeClient): Promise<unknown> {
    if (this.#refreshing !== undefined) return this.#refreshing;
    const rediscover = async () => this.#cluster._slots?.rediscover?.(startWith);
    const ending = rediscover()
      .catch(() => {})
      .finally(() => {
        this.#refreshing = undefined;
        this.#refreshedAt = performance.now();
      });
    this.#refreshing = Promise.race([ending, pause(MAX_REFRESH_MS, undefined, { ref: false })]);
    return this.#refreshing;
  }

  /** The client of the node to send to, once it is connected. Searches again while it waits, since a failover may happen. */
  async #readyClient(deadline: Deadline, find: () => ClusterNode | undefined): Promise<NodeClient> {
    if (deadline.passed) throw new Error("It took too long to find the node");
    const readyClient = () => {
      if (!this.#cluster.isOpen) throw this.#topology.readiness.closedError();
      const node = find();
      if (node?.client !== undefined) this.connections.watch(node.client as Connection);
      if (node?.client?.isReady) return node.client;
      if (node?.client?.options?.disableOfflineQueue)
        throw new Error("The node is offline, and disableOfflineQueue is set");
      if (node !== undefined && node.client === undefined) this.clientOf(node).catch(() => {});
      // node-redis 5 never, and 6 after 5 s, asks the other nodes for the successor of a lost primary.
      else void this.refresh();
      return undefined;
    };
    return readyClient() ?? until(deadline, readyClient);
  }
}
