import { expect, test } from "vitest";
import { ClusterPrimaries } from "../../lib/redis/cluster.ts";
import type { ClusterNode, ClusterRoutes, Fill } from "../../lib/redis/cluster-routing.ts";
import { Deadlines } from "../../lib/redis/deadlines.ts";
import type { RedisSender } from "../../lib/redis/executor.ts";
import type { Primary } from "../../lib/redis/topology.ts";

interface View {
  epoch: number;
  primaries: string[];
}

/** A Cluster of which each node knows what it is told to. */
class ScriptedCluster {
  /** What the client knows, as objects that are others whenever it has looked anew. */
  #nodes: readonly ClusterNode[] = [];
  readonly views: Record<string, View>;
  /** Whom the next survey asks. */
  surveyed: string;
  /** Nodes that were asked for all primaries with a heartbeat. */
  readonly asked: string[] = [];
  refreshes = 0;
  /** Replies come when this resolves. */
  answering = Promise.resolve();
  readonly primaries: ClusterPrimaries;

  constructor(ids: string[], epoch: number) {
    this.known = ids;
    this.surveyed = ids[0] as string;
    this.views = Object.fromEntries(ids.map((id) => [id, { epoch, primaries: ids }]));
    const cluster = this;
    const routes = {
      get primaries() {
        return cluster.#nodes;
      },
      clientOf: async (node: ClusterNode) => {
        if (!cluster.#nodes.includes(node)) throw new Error("The node has left the Cluster");
        return node.id;
      },
      refresh: async () => {
        this.refreshes++;
      },
    };
    const send = async (_deadline: unknown, _what: string, node: ClusterNode | undefined, fill: Fill) => {
      if (node !== undefined && !this.#nodes.includes(node)) throw new Error("no primary any more");
      const replies = this.#replies(node, fill);
      await this.answering;
      return { replies };
    };
    this.primaries = new ClusterPrimaries(
      routes as unknown as ClusterRoutes,
      { send } as unknown as RedisSender,
      new Deadlines(60_000),
    );
  }

  set known(ids: readonly string[]) {
    this.#nodes = ids.map((id) => ({ id, address: id }));
  }

  #replies(node: ClusterNode | undefined, fill: Fill): unknown[] {
    const id = node?.id ?? this.surveyed;
    const { epoch, primaries } = this.views[id] as View;
    const replies: unknown[] = [];
    const batch = {
      clusterInfo: () => {
        replies.push(`cluster_state:ok\r\ncluster_current_epoch:${epoch}\r\ncluster_my_epoch:1\r\n`);
        return batch;
      },
      clusterSlots: () => {
        if (node !== undefined) this.asked.push(id);
        replies.push(primaries.map((primary) => ({ master: { id: primary } })));
        return batch;
      },
      publish: () => {
        replies.push(0);
        return batch;
      },
    };
    fill(batch as unknown as Parameters<Fill>[0]);
    return replies;
  }
}

const beat = (primary: Primary | undefined) => (primary as Primary).beat("channel", "1");

test("heartbeats prove while all primaries tell the epoch of the survey", async () => {
  const { primaries } = new ScriptedCluster(["a", "b", "c"], 7);
  const surveyed = await primaries.survey();
  expect(surveyed.map(({ id }) => id)).toEqual(["a", "b", "c"]);
  for (const primary of surveyed) expect(await beat(primary)).toBe("proof");
});

test("a node that the client has lost sight of for a moment is still that primary", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.primaries.survey();
  cluster.known = ["b"];
  cluster.known = ["a", "b"];
  expect(cluster.primaries.isCurrent).toBe(true);
  expect(await beat(a)).toBe("proof");
  expect(await (a as Primary).subscriber()).toBe("a");
});

test("a survey fails, and the client looks anew, while the client knows others than the Cluster names", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  cluster.views["a"] = { epoch: 8, primaries: ["b", "c"] };
  await expect(cluster.primaries.survey()).rejects.toThrow(/^The primaries are not known for certain/);
  expect(cluster.refreshes).toBe(1);
});

test("a later epoch means an election: the primaries have changed, whatever else is said", async () => {
  const cluster = new ScriptedCluster(["a", "b", "c"], 7);
  const [a, b] = await cluster.primaries.survey();
  (cluster.views["b"] as View).epoch = 8;
  expect(await beat(a)).toBe("proof");
  expect(await beat(b)).toBe("changed");
});

test("a primary that does not know the epoch of the survey yet proves nothing", async () => {
  const cluster = new ScriptedCluster(["a", "b", "c"], 7);
  (cluster.views["b"] as View).epoch = 6;
  const [a, b] = await cluster.primaries.survey();
  expect(await beat(b)).toBe("none");
  expect(await beat(a)).toBe("proof");
});

test("a client that would write to others means a change, at once", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.primaries.survey();
  expect(cluster.primaries.isCurrent).toBe(true);
  cluster.known = ["b", "c"];
  expect(cluster.primaries.isCurrent).toBe(false);
  expect(await beat(a)).toBe("changed");
});

test("each primary in turn is asked for all of them, and one that has come without a new epoch is found", async () => {
  const ids = ["a", "b", "c", "d"];
  const cluster = new ScriptedCluster(ids, 7);
  const surveyed = await cluster.primaries.survey();
  const round = () => Promise.all(surveyed.map(beat));
  for (let i = 0; i < 2 * ids.length; i++) await round();
  expect(new Set(cluster.asked)).toEqual(new Set(ids));
  expect(cluster.asked.length).toBeLessThanOrEqual(2 * ids.length);
  // Only c has heard of it.
  cluster.views["c"] = { epoch: 7, primaries: ["a", "b", "c", "e"] };
  const outcomes = [];
  for (let i = 0; i <= ids.length; i++) outcomes.push(...(await round()));
  expect(outcomes).toContain("changed");
});

test("a heartbeat that was under way during a survey proves nothing: it may be older", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.primaries.survey();
  let answer = () => {};
  cluster.answering = new Promise((resolve) => {
    answer = resolve;
  });
  const beating = beat(a);
  cluster.answering = Promise.resolve();
  await cluster.primaries.survey();
  answer();
  expect(await beating).toBe("none");
  expect(await beat(a)).toBe("proof");
});
