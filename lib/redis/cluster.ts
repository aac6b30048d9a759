import { SessionStoreError } from "../reporting/errors.ts";
import { keyPrefixOf, type RedisStoreClient } from "./client.ts";
import { ClusterRoutes } from "./cluster-routing.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { CommandExecutor } from "./executor.ts";
import { SLOTS, slotOf, tagOf } from "./key-slot.ts";
import { Outage } from "./outage.ts";
import { ClientReadiness } from "./readiness.ts";
import { asInteger, asText, isErrorReply, isRedirection, receiversIn } from "./replies.ts";
import { HEARTBEAT, SHARDED_CHANNELS } from "./scripts.ts";
import { classicConnection, shardedConnection, subscriberFrom } from "./subscriber.ts";
import {
  type Batch,
  type BatchBuilder,
  Doubts,
  type HeartbeatResult,
  type Primary,
  type Probe,
  type SessionConnection,
  type SubscriberConnection,
  type SubscriberOptions,
  type Topology,
  type TopologyOptions,
} from "./topology.ts";

/** The primaries that one node knows. */
interface KnownPrimaries {
  /** Grows with every election. */
  readonly epoch: number;
  /** The ids of all of them. */
  readonly primaries: string;
}

/** What one node knows of the Cluster. */
interface ClusterView extends KnownPrimaries {
  /** The id of the primary of each slot; undefined for a slot that nobody serves. */
  readonly owners: Owners;
}

type Owners = readonly (string | undefined)[];

/**
 * A Redis Cluster. docs/guides/topologies.md says why each primary has a subscriber and heartbeats of its own, what the Cluster's
 * epoch proves, and how sessions' messages arrive while slots move.
 *
 * A node that has lost its slots to another knows the epoch of the last `discover`, too, so no write needs to prove that it is a
 * primary.
 *
 * A replica that was elected before `discover`, with the votes of that very epoch, may not have announced itself yet. It does so at
 * once. So one primary after another is also asked for the primary of each slot. That also shows what happens without a vote.
 */
export class Cluster implements Topology {
  readonly fullPrefix: string;
  readonly prefix: string;
  readonly combinesKeys = false;
  /** A transaction with the command that publishes to a shard is refused (TRYAGAIN) while its slot moves. */
  readonly hasTransactions = false;
  readonly database = 0;
  readonly doubts: Doubts = new Doubts();
  readonly outage: Outage = new Outage();
  readonly probe: Probe = { name: "CLUSTER", acl: "+cluster|info", build: (batch) => batch.clusterInfo() };
  readonly readiness: ClientReadiness;
  readonly #routes: ClusterRoutes;
  readonly #deadlines: Deadlines;
  readonly #executor = new CommandExecutor(this);
  #discovered: KnownPrimaries = { epoch: -1, primaries: "" };
  /** Those of the newest view. While slots move, the client may know others. */
  #owners: Owners = [];
  /** The same, but of slots that have been used since: those that the client knew. The next view is compared with them. */
  readonly #used: (string | undefined)[] = [];
  #heartbeats = 0;

  /** @param routes a test's own */
  constructor(client: RedisStoreClient, options: TopologyOptions, routes?: ClusterRoutes) {
    this.fullPrefix = keyPrefixOf(client) + options.prefix;
    // The nodes' own clients do not have the client's keyPrefix.
    this.prefix = this.fullPrefix;
    this.readiness = new ClientReadiness(client, {
      // The client's own `isReady` says only that it was connected once.
      isConnected: () => this.#routes.primaries.some((node) => node.client?.isReady === true),
      connectionErrorEvent: "node-error",
    });
    this.#routes = routes ?? new ClusterRoutes(client, this);
    const { leaseMs } = options;
    this.#deadlines = new Deadlines(leaseMs, { explain: () => this.readiness.problem(leaseMs) });
  }

  send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    this.outage.asked();
    return this.#routes.send(deadline, batch);
  }

  checkConnections(silentMs: number, onReplaced: (what: string) => void): boolean {
    return this.#routes.connections.silence.check(silentMs, onReplaced);
  }

  async primaryIds(deadline: Deadline): Promise<readonly string[]> {
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
      const replies = await this.#executor.send(deadline, command);
      return viewIn(replies);
    });
    if (view.primaries !== this.#known) {
      await this.#routes.refresh();
      const message = "The primaries are not known for certain: the Cluster names others than its client";
      throw new SessionStoreError("ERR_SUBSCRIPTION", message);
    }
    this.#discovered = view;
    this.#setOwners(view);
    return this.#routes.primaries.map(({ id }) => ({
      id,
      createSubscriber: (options) => this.#createSubscriber(id, options),
      isConnectedTo: () => true,
      holds: (sid) => this.#owners[slotOf(this.prefix + sid)] === id,
      sessionConnection: (subscriber, channel) => this.#sessionConnection(id, subscriber, channel),
      canReadOn: (subscriber) => this.#canReadOn(subscriber),
      sendHeartbeat: (channel, payload) => this.#sendHeartbeat(id, channel, payload),
    }));
  }

  primaryIdOf(sid: string): string | undefined {
    const slot = slotOf(this.prefix + sid);
    const id = this.#routes.primaryIdOfSlot(slot);
    // Sessions may be subscribed there: a view that names another is to count as a move, also if the last one did.
    this.#used[slot] = id;
    return id;
  }

  channelTagOf(sid: string): string {
    return `{${tagOf(slotOf(this.prefix + sid))}}`;
  }

  #createSubscriber(id: string, options: SubscriberOptions): Promise<SubscriberConnection> {
    return this.#deadlines.run("subscription", async () =>
      subscriberFrom(await this.#routes.clientOf(this.#routes.primaryOf(id)), options),
    );
  }

  #sessionConnection(
    id: string,
    subscriber: SubscriberConnection,
    channel: string,
  ): Promise<SessionConnection> {
    const command = { name: "EVAL", acl: "+eval", target: { primary: id } };
    const build: BatchBuilder = (batch) => batch.eval(SHARDED_CHANNELS.source, { keys: [], arguments: [] });
    return this.#deadlines.run("subscription", async (deadline) => {
      const [reply] = await this.#executor.send(deadline, { ...command, build });
      const hasSharded = asInteger(reply) ?? this.#executor.unexpected("EVAL", reply);
      if (hasSharded === 0) return classicConnection(subscriber);
      const connection = shardedConnection(subscriber);
      // Denied now rather than with the first session. A slot that has moved meanwhile is redirected, which no permission needs.
      const channels = [`${channel}:{${tagOf(Math.max(0, this.#owners.indexOf(id)))}}none`];
      const ignore = () => {};
      const isGranted = (error: unknown) => {
        if (!isRedirection(error)) throw error;
      };
      await connection.subscribe(channels, ignore).catch(isGranted);
      await connection.unsubscribe(channels, ignore).catch(isGranted);
      await connection.read((batch) => batch);
      return connection;
    });
  }

  /** A node has one database. */
  async #canReadOn(subscriber: SubscriberConnection): Promise<boolean | undefined> {
    const ask = () => subscriber.multi().clusterInfo().execAsPipeline();
    const isRefusal = (error: unknown) => {
      if (!isErrorReply(error)) throw error;
      return false;
    };
    return this.#deadlines
      .run("CLUSTER INFO", () => ask().then(() => true, isRefusal))
      .catch(() => undefined);
  }

  async #sendHeartbeat(id: string, channel: string, payload: string): Promise<HeartbeatResult> {
    if (!this.isUpToDate) return "changed";
    const before = this.#discovered;
    const asksForView = this.#heartbeats++ % (this.#routes.primaries.length + 1) === 0;
    const ask = asksForView ? askForView : askForEpoch;
    // By its source, since a pipeline cannot fall back to it. Redis has it compiled.
    const script = { keys: [], arguments: [channel, payload] };
    const command = {
      name: "heartbeat",
      acl: `${VIEW_ACL} +eval +publish and the channel`,
      target: { primary: id },
      build: ((batch) => ask(batch).eval(HEARTBEAT.source, script)) satisfies BatchBuilder,
      isInStep: (replies: readonly unknown[]) =>
        /cluster_current_epoch/.test(asText(replies[0]) ?? "") &&
        receiversIn(replies.at(-1), payload) !== undefined,
    };
    const replies = await this.#deadlines.run("heartbeat", (deadline) =>
      this.#executor.send(deadline, command),
    );
    const epoch = epochIn(replies[0]);
    const now = this.#discovered;
    if (epoch < now.epoch) return "none";
    if (epoch !== now.epoch || !this.isUpToDate) return "changed";
    const view = asksForView ? viewIn(replies) : undefined;
    if (view !== undefined && view.primaries !== now.primaries) return "changed";
    if (receiversIn(replies.at(-1), payload) === 0) return "elsewhere";
    if (before !== now) return "none";
    // The client may know the new primary already, and sessions may still be subscribed at the old one.
    const isUnmoved = (owners: Owners) => isSame(owners, this.#used) && isSame(owners, this.#owners);
    if (view === undefined || isUnmoved(view.owners)) return "proof";
    this.#setOwners(view);
    // Otherwise the client learns of it only when a command is redirected.
    void this.#routes.refresh();
    return "moved";
  }

  #setOwners({ owners }: ClusterView): void {
    this.#owners = owners;
    Object.assign(this.#used, owners);
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

/** What a node replies to `askForView`. */
function viewIn([info, slots]: readonly unknown[]): ClusterView {
  const owners = new Array<string | undefined>(SLOTS).fill(undefined);
  for (const { from, to, master } of slots as SlotRange[])
    owners.fill(String(master.id), Number(from), Number(to) + 1);
  const primaries = joined((slots as SlotRange[]).map(({ master }) => String(master.id)));
  return { epoch: epochIn(info), owners, primaries };
}

interface SlotRange {
  readonly from: unknown;
  readonly to: unknown;
  readonly master: { readonly id: unknown };
}

function isSame(some: Owners, others: Owners): boolean {
  return some.every((owner, slot) => owner === others[slot]);
}

function joined(ids: readonly string[]): string {
  return [...new Set(ids)].sort().join();
}
