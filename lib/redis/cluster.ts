import { SessionStoreError } from "../reporting/errors.ts";
import { keyPrefixOf, type RedisStoreClient } from "./client.ts";
import { ClusterRoutes } from "./cluster-routing.ts";
import { connectionProblem } from "./connection-state.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { Doubts } from "./doubts.ts";
import { CommandExecutor } from "./executor.ts";
import { Outage } from "./outage.ts";
import { asText, isErrorReply, receiversIn } from "./replies.ts";
import { HEARTBEAT } from "./scripts.ts";
import { subscriberFrom } from "./subscriber.ts";
import type {
  Batch,
  BatchBuilder,
  HeartbeatResult,
  Primary,
  Probe,
  SubscriberConnection,
  SubscriberOptions,
  Topology,
  TopologyOptions,
} from "./topology.ts";

/** What one node knows of the Cluster. */
interface ClusterView {
  /** Grows with every election. */
  readonly epoch: number;
  /** The ids of all nodes that serve slots. */
  readonly primaries: string;
}

/**
 * A Redis Cluster.
 *
 * Each primary has a subscriber and heartbeats of its own. A single subscriber would receive everything, too, since nodes
 * forward published messages over the cluster bus. But what is in transit on a link of the bus when it breaks is lost, and a
 * heartbeat after the link's repair does not show that. A primary's own subscribers receive everything it publishes, in
 * order, or their connection ends.
 *
 * The Cluster's epoch proves that no other node has become a primary: a replica is elected only after most primaries have
 * adopted a new epoch, with their votes. So while all of them report the epoch of the last `discover`, there is no other.
 *
 * A node that has lost its slots to another knows that epoch, too, so no write needs to prove that it is a primary.
 *
 * An exception is a replica that was elected before `discover`, with the votes of that very epoch, but had not announced itself
 * yet. It does so at once. So each primary in turn is also asked for all primaries. That also shows what happens without a
 * vote: CLUSTER FAILOVER TAKEOVER, and the first slot of a new node.
 */
export class Cluster implements Topology {
  readonly fullPrefix: string;
  readonly prefix: string;
  readonly combinesKeys = false;
  readonly hasTransactions = true;
  readonly database = 0;
  readonly doubts: Doubts = new Doubts();
  readonly outage: Outage = new Outage();
  readonly probe: Probe = { name: "CLUSTER", acl: "+cluster|info", build: (batch) => batch.clusterInfo() };
  readonly #routes: ClusterRoutes;
  readonly #deadlines: Deadlines;
  readonly #executor = new CommandExecutor(this);
  #discovered: ClusterView = { epoch: -1, primaries: "" };
  #heartbeats = 0;

  /** @param routes a test's own */
  constructor(client: RedisStoreClient, options: TopologyOptions, routes?: ClusterRoutes) {
    this.fullPrefix = keyPrefixOf(client) + options.prefix;
    // The nodes' own clients do not have the client's keyPrefix.
    this.prefix = this.fullPrefix;
    this.#routes = routes ?? new ClusterRoutes(client, this.doubts);
    const { leaseMs } = options;
    this.#deadlines = new Deadlines(leaseMs, { explain: () => connectionProblem(client, leaseMs) });
  }

  send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    return this.#routes.send(deadline, batch);
  }

  checkConnections(silentMs: number, onReplaced: () => void): boolean {
    return this.#routes.connections.silence.check(silentMs, onReplaced);
  }

  async nodes(deadline: Deadline): Promise<readonly string[]> {
    // A client that is not connected yet knows no primaries, which must not be mistaken for "there are no sessions".
    if (this.#routes.primaries.length === 0) {
      await this.#executor.send(deadline, { ...this.probe, target: "any" });
    }
    return this.#routes.primaries.map(({ id }) => id);
  }

  /** Whether the client would write to those that were discovered. */
  get isUpToDate(): boolean {
    return this.#known === this.#discovered.primaries;
  }

  /** @throws SessionStoreError also if the client knows other primaries; the client is refreshed first, so a retry helps */
  async discover(): Promise<readonly Primary[]> {
    const command = { name: "CLUSTER", acl: VIEW_ACL, target: "any", build: askForView } as const;
    const view = await this.#deadlines.run("discover", async (deadline) => {
      const { replies } = await this.#executor.send(deadline, command);
      return { epoch: epochIn(replies[0]), primaries: primariesIn(replies[1]) };
    });
    if (view.primaries !== this.#known) {
      await this.#routes.refresh();
      const message = "The primaries are not known for certain: the Cluster names others than its client";
      throw new SessionStoreError("ERR_SUBSCRIPTION", message);
    }
    this.#discovered = view;
    return this.#routes.primaries.map(({ id }) => ({
      id,
      createSubscriber: (options) => this.#createSubscriber(id, options),
      isConnectedTo: () => true,
      canReadOn: (subscriber) => this.#canReadOn(subscriber),
      sendHeartbeat: (channel, payload) => this.#sendHeartbeat(id, channel, payload),
    }));
  }

  primaryIdOf(sid: string): string | undefined {
    return this.#routes.primaryIdOfKey(this.prefix + sid);
  }

  #createSubscriber(id: string, options: SubscriberOptions): Promise<SubscriberConnection> {
    return this.#deadlines.run("subscription", async () =>
      subscriberFrom(await this.#routes.clientOf(this.#routes.primaryOf(id)), options),
    );
  }

  /** A node has one database. */
  async #canReadOn(subscriber: SubscriberConnection): Promise<boolean | undefined> {
    const ask = () => subscriber.multi().clusterInfo().execAsPipeline();
    return this.#deadlines.run("CLUSTER INFO", ask).then(
      () => true,
      (error: unknown) => (isErrorReply(error) ? false : undefined),
    );
  }

  async #sendHeartbeat(id: string, channel: string, payload: string): Promise<HeartbeatResult> {
    if (!this.isUpToDate) return "changed";
    const before = this.#discovered;
    const isTurnToAskForView = this.#heartbeats++ % (this.#routes.primaries.length + 1) === 0;
    const ask = isTurnToAskForView ? askForView : askForEpoch;
    // By its source, since a pipeline cannot fall back to it. Redis has it compiled.
    const script = { keys: [], arguments: [channel, payload] };
    const command = {
      name: "heartbeat",
      acl: `${VIEW_ACL} +eval +publish and the channel`,
      target: { node: id },
      build: ((batch) => ask(batch).eval(HEARTBEAT.source, script)) satisfies BatchBuilder,
      isInStep: (replies: readonly unknown[]) =>
        /cluster_current_epoch/.test(asText(replies[0]) ?? "") &&
        receiversIn(replies.at(-1), payload) !== undefined,
    };
    const { replies } = await this.#deadlines.run("heartbeat", (deadline) =>
      this.#executor.send(deadline, command),
    );
    const epoch = epochIn(replies[0]);
    const now = this.#discovered;
    if (epoch < now.epoch) return "none";
    const hasSameView = !isTurnToAskForView || primariesIn(replies[1]) === now.primaries;
    if (epoch !== now.epoch || !hasSameView || !this.isUpToDate) return "changed";
    if (receiversIn(replies.at(-1), payload) === 0) return "elsewhere";
    return before === now ? "proof" : "none";
  }

  get #known(): string {
    return joined(this.#routes.primaries.map(({ id }) => id));
  }
}

const VIEW_ACL = "+cluster|info +cluster|slots";

// The replies to one round trip need not describe one moment, as long as the epoch is the older: after an election between
// the two, the next heartbeat finds another epoch, and the primaries are discovered again.
const askForEpoch: BatchBuilder = (batch) => batch.clusterInfo();
const askForView: BatchBuilder = (batch) => batch.clusterInfo().clusterSlots();

function epochIn(info: unknown): number {
  return Number(/cluster_current_epoch:(\d+)/.exec(String(info))?.[1] ?? 0);
}

function primariesIn(slots: unknown): string {
  const ranges = slots as { readonly master: { readonly id: unknown } }[];
  return joined(ranges.map(({ master }) => String(master.id)));
}

function joined(ids: readonly string[]): string {
  return [...new Set(ids)].sort().join();
}
