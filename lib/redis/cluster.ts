import { SessionStoreError } from "../reporting/errors.ts";
import type { ClusterNode, ClusterRoutes, Fill } from "./cluster-routing.ts";
import type { Deadline, Deadlines } from "./deadlines.ts";
import type { RedisSender } from "./executor.ts";
import type { Beat, Primaries, Primary } from "./topology.ts";

/** What one node knows of the Cluster. */
interface View {
  /** Grows with every election. */
  readonly epoch: number;
  /** The ids of all nodes that serve slots. */
  readonly primaries: string;
}

/**
 * The primaries of a Cluster.
 *
 * Each is listened to by a connection of its own, and each has heartbeats of its own. One connection would hear everything, too,
 * since nodes pass on over the cluster bus what is published. But what is under way on a link of the bus when it breaks is
 * lost, and a heartbeat that comes after the link has been mended does not show it. A primary's own subscribers hear all
 * that it carries out, in that order, or their connection ends.
 *
 * That no other node has become a primary is proven by the Cluster's epoch: a replica is elected only after most primaries
 * have taken up a new one, with their votes. So while all of them still tell the epoch of the survey, there is no other.
 *
 * Except one that was elected when the survey was made, with the votes of that very epoch, but had not made itself known. It
 * does so at once. So each primary in turn is also asked which ones there are. That shows besides what happens without a
 * vote: CLUSTER FAILOVER TAKEOVER, and the first slot of a new node.
 */
export class ClusterPrimaries implements Primaries {
  readonly mayChange = true;
  readonly #routes: ClusterRoutes;
  readonly #sender: RedisSender;
  readonly #deadlines: Deadlines;
  #surveyed: View = { epoch: -1, primaries: "" };
  #beats = 0;

  constructor(routes: ClusterRoutes, sender: RedisSender, deadlines: Deadlines) {
    this.#routes = routes;
    this.#sender = sender;
    this.#deadlines = deadlines;
  }

  /** @throws SessionStoreError when the client does not know the same ones, to be tried again when it has looked anew */
  async survey(): Promise<readonly Primary[]> {
    const view = await this.#deadlines.run("survey", async (deadline) => {
      const { replies } = await this.#sender.send(deadline, "CLUSTER", undefined, askAll);
      return { epoch: epochIn(replies[0]), primaries: primariesIn(replies[1]) };
    });
    if (view.primaries !== this.#known) {
      await this.#routes.refresh();
      const message = "The primaries are not known for certain: the Cluster names others than its client";
      throw new SessionStoreError("ERR_SUBSCRIPTION", message);
    }
    this.#surveyed = view;
    return this.#routes.primaries.map(({ id }) => ({
      id,
      subscriber: () =>
        this.#deadlines.run("subscription", async () => this.#routes.clientOf(this.#nodeNamed(id))),
      isHeardBy: () => true,
      beat: (channel, message) => this.#beat(id, channel, message),
    }));
  }

  /** Whether the client would write to those that were surveyed. */
  get isCurrent(): boolean {
    return this.#known === this.#surveyed.primaries;
  }

  /** Looked up each time: a node that the client has lost sight of for a moment is another object when it is back. */
  #nodeNamed(id: string): ClusterNode {
    const node = this.#routes.primaries.find((primary) => primary.id === id);
    if (node === undefined) throw new Error("The node is no primary any more");
    return node;
  }

  async #beat(id: string, channel: string, message: string): Promise<Beat> {
    if (!this.isCurrent) return "changed";
    const before = this.#surveyed;
    const asksAll = this.#isTurnToAskAll();
    const fill: Fill = (batch) => (asksAll ? askAll : askEpoch)(batch).publish(channel, message);
    const { replies } = await this.#deadlines.run("heartbeat", async (deadline: Deadline) =>
      this.#sender.send(deadline, "heartbeat", this.#nodeNamed(id), fill),
    );
    const epoch = epochIn(replies[0]);
    const now = this.#surveyed;
    if (epoch < now.epoch) return "none";
    const isSame = epoch === now.epoch && (!asksAll || primariesIn(replies[1]) === now.primaries);
    if (!isSame || !this.isCurrent) return "changed";
    return before === now ? "proof" : "none";
  }

  /** One more than there are primaries, so that each is asked in turn. */
  #isTurnToAskAll(): boolean {
    return this.#beats++ % (this.#routes.primaries.length + 1) === 0;
  }

  get #known(): string {
    return listed(this.#routes.primaries.map(({ id }) => id));
  }
}

// What is asked for in one round trip need not be true at one moment, as long as the epoch is the older: if there was an election
// between the two, the next heartbeat finds another epoch, and all is looked at anew.
const askEpoch: Fill = (batch) => batch.clusterInfo();
const askAll: Fill = (batch) => batch.clusterInfo().clusterSlots();

function epochIn(info: unknown): number {
  return Number(/cluster_current_epoch:(\d+)/.exec(String(info))?.[1] ?? 0);
}

function primariesIn(slots: unknown): string {
  const ranges = slots as { readonly master: { readonly id: unknown } }[];
  return listed(ranges.map(({ master }) => String(master.id)));
}

function listed(ids: readonly string[]): string {
  return [...new Set(ids)].sort().join();
}
