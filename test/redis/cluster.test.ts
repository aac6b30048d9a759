import { expect, test } from "vitest";
import type { RedisStoreClient } from "../../lib/redis/client.ts";
import { Cluster } from "../../lib/redis/cluster.ts";
import type { ClusterNode, ClusterRoutes } from "../../lib/redis/cluster-routing.ts";
import type { Deadline } from "../../lib/redis/deadlines.ts";
import { slotOf, tagOf } from "../../lib/redis/key-slot.ts";
import type { Batch, BatchBuilder, Primary, SubscriberConnection } from "../../lib/redis/topology.ts";

interface View {
  epoch: number;
  /** In the order of their slots. */
  primaries: string[];
}

const SLOTS = 16_384;

/** As many slots for each, in this order. */
function rangesOf(primaries: readonly string[]) {
  const startOf = (i: number) => Math.floor((i * SLOTS) / primaries.length);
  return primaries.map((id, i) => ({ from: startOf(i), to: startOf(i + 1) - 1, master: { id } }));
}

/** A Cluster whose nodes each know what the test says. */
class ScriptedCluster {
  /** What the client knows, as new objects after each discovery. */
  #nodes: readonly ClusterNode[] = [];
  readonly views: Record<string, View>;
  /** The node that the next `discover` asks. */
  asksFirst: string;
  /** Nodes that were asked for all primaries with a heartbeat. */
  readonly asked: string[] = [];
  refreshes = 0;
  /** The slots that the client has found elsewhere. */
  readonly redirected = new Map<number, string>();
  /** What the client knows when it has been refreshed. */
  knownNext: readonly string[] | undefined;
  /** How many subscribers of a heartbeat each node has. */
  receivers = 1;
  /** Replies arrive when this resolves. */
  answering = Promise.resolve();
  readonly topology: Cluster;

  constructor(ids: string[], epoch: number, leaseMs = 60_000) {
    this.known = ids;
    this.asksFirst = ids[0] as string;
    this.views = Object.fromEntries(ids.map((id) => [id, { epoch, primaries: ids }]));
    const cluster = this;
    const routes = {
      get primaries() {
        return cluster.#nodes;
      },
      primaryOf: (id: string) => {
        const node = cluster.#nodes.find((known) => known.id === id);
        if (node === undefined) throw new Error("no primary any more");
        return node;
      },
      clientOf: async (node: ClusterNode) => {
        if (!cluster.#nodes.includes(node)) throw new Error("The node has left the Cluster");
        return { duplicate: () => ({ id: node.id, on: () => {}, destroy: () => {} }) };
      },
      primaryIdOfSlot: (slot: number) => {
        const ranges = rangesOf(cluster.#nodes.map(({ id }) => id));
        return (
          cluster.redirected.get(slot) ?? ranges.find(({ from, to }) => from <= slot && slot <= to)?.master.id
        );
      },
      refresh: async () => {
        this.refreshes++;
        if (this.knownNext) this.known = this.knownNext;
      },
      send: async (_deadline: Deadline, { target, build }: Batch) => {
        const node = target === "any" ? undefined : routes.primaryOf((target as { primary: string }).primary);
        const replies = this.#replies(node, build);
        await this.answering;
        return replies;
      },
    };
    const options = { prefix: "sess:", leaseMs, subscriber: () => ({}) as RedisStoreClient };
    this.topology = new Cluster({} as RedisStoreClient, options, routes as unknown as ClusterRoutes);
  }

  set known(ids: readonly string[]) {
    this.#nodes = ids.map((id) => ({ id, address: id }));
  }

  #replies(node: ClusterNode | undefined, build: BatchBuilder): unknown[] {
    const id = node?.id ?? this.asksFirst;
    const { epoch, primaries } = this.views[id] as View;
    const replies: unknown[] = [];
    const batch = {
      clusterInfo: () => {
        replies.push(`cluster_state:ok\r\ncluster_current_epoch:${epoch}\r\ncluster_my_epoch:1\r\n`);
        return batch;
      },
      clusterSlots: () => {
        if (node !== undefined) this.asked.push(id);
        replies.push(rangesOf(primaries));
        return batch;
      },
      eval: (_script: string, { arguments: [, payload] }: { arguments: string[] }) => {
        replies.push([this.receivers, payload]);
        return batch;
      },
    };
    build(batch as unknown as Parameters<BatchBuilder>[0]);
    return replies;
  }
}

const sendHeartbeat = (primary: Primary | undefined) => (primary as Primary).sendHeartbeat("channel", "1");

test("heartbeats prove while all primaries report the epoch of discover()", async () => {
  const { topology } = new ScriptedCluster(["a", "b", "c"], 7);
  const discovered = await topology.discover();
  expect(discovered.map(({ id }) => id)).toEqual(["a", "b", "c"]);
  for (const primary of discovered) expect(await sendHeartbeat(primary)).toBe("proof");
});

test("a node that the client has lost for a moment is still that primary", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.topology.discover();
  cluster.known = ["b"];
  cluster.known = ["a", "b"];
  expect(cluster.topology.isUpToDate).toBe(true);
  expect(await sendHeartbeat(a)).toBe("proof");
  const subscriber = await (a as Primary).createSubscriber({ protocol: "RESP 3", isTracked: false });
  expect(subscriber).toMatchObject({ id: "a" });
});

test("discover() fails, and the client is refreshed, while the client knows others than the Cluster names", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  cluster.views["a"] = { epoch: 8, primaries: ["b", "c"] };
  await expect(cluster.topology.discover()).rejects.toThrow(/^The primaries are not known for certain/);
  expect(cluster.refreshes).toBe(1);
});

test("a primary without a subscriber of the heartbeat proves nothing: the subscription is elsewhere", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.topology.discover();
  cluster.receivers = 0;
  expect(await sendHeartbeat(a)).toBe("elsewhere");
});

test("a later epoch means an election: the primaries have changed, whatever else is reported", async () => {
  const cluster = new ScriptedCluster(["a", "b", "c"], 7);
  const [a, b] = await cluster.topology.discover();
  (cluster.views["b"] as View).epoch = 8;
  expect(await sendHeartbeat(a)).toBe("proof");
  expect(await sendHeartbeat(b)).toBe("changed");
});

test("a primary that does not know the epoch of discover() yet proves nothing", async () => {
  const cluster = new ScriptedCluster(["a", "b", "c"], 7);
  (cluster.views["b"] as View).epoch = 6;
  const [a, b] = await cluster.topology.discover();
  expect(await sendHeartbeat(b)).toBe("none");
  expect(await sendHeartbeat(a)).toBe("proof");
});

test("a client that would write to others means a change, at once", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.topology.discover();
  expect(cluster.topology.isUpToDate).toBe(true);
  cluster.known = ["b", "c"];
  expect(cluster.topology.isUpToDate).toBe(false);
  expect(await sendHeartbeat(a)).toBe("changed");
});

test("each primary in turn is asked for all of them, and one that was added without a new epoch is found", async () => {
  const ids = ["a", "b", "c", "d"];
  const cluster = new ScriptedCluster(ids, 7);
  const discovered = await cluster.topology.discover();
  const round = () => Promise.all(discovered.map(sendHeartbeat));
  for (let i = 0; i < 2 * ids.length; i++) await round();
  expect(new Set(cluster.asked)).toEqual(new Set(ids));
  expect(cluster.asked.length).toBeLessThanOrEqual(2 * ids.length);
  // Only c knows it.
  cluster.views["c"] = { epoch: 7, primaries: ["a", "b", "c", "e"] };
  const outcomes = [];
  for (let i = 0; i <= ids.length; i++) outcomes.push(...(await round()));
  expect(outcomes).toContain("changed");
});

test("slots that have moved between the same primaries without a new epoch are found, and the client is refreshed", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.topology.discover();
  const moved = ["b", "a"];
  for (const id of moved) cluster.views[id] = { epoch: 7, primaries: moved };
  cluster.knownNext = moved;
  const outcomes = [];
  for (let i = 0; i < 3; i++) outcomes.push(await sendHeartbeat(a));
  expect(outcomes.filter((outcome) => outcome !== "proof")).toEqual(["moved"]);
  expect(cluster.refreshes).toBe(1);
  for (let i = 0; i < 3; i++) expect(await sendHeartbeat(a)).toBe("proof");
});

test("a slot that the client has found at its new primary before a heartbeat did has moved all the same", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const { topology } = cluster;
  const primaries = await topology.discover();
  const sid = "s";
  const slot = slotOf(`sess:${sid}`);
  const after = topology.primaryIdOf(sid) === "a" ? "b" : "a";
  // A command was redirected, and then the session was read.
  cluster.redirected.set(slot, after);
  expect(topology.primaryIdOf(sid)).toBe(after);
  const owners = Array.from({ length: SLOTS }, (_, i) => (i === slot ? after : i < SLOTS / 2 ? "a" : "b"));
  for (const id of ["a", "b"]) cluster.views[id] = { epoch: 7, primaries: owners };
  const outcomes = [];
  for (let i = 0; i < 6; i++) outcomes.push(await sendHeartbeat(primaries[0]));
  expect(outcomes.filter((outcome) => outcome !== "proof")).toEqual(["moved"]);
  expect(primaries.filter((primary) => primary.holds(sid)).map(({ id }) => id)).toEqual([after]);
});

test("while slots move, the client may know others than the Cluster: all is proven, and a session is held where the Cluster says", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const { topology } = cluster;
  const primaries = await topology.discover();
  const sid = "s";
  const holders = () => primaries.filter((primary) => primary.holds(sid)).map(({ id }) => id);
  const known = topology.primaryIdOf(sid) as string;
  expect(holders()).toEqual([known]);
  for (const id of ["a", "b"]) cluster.views[id] = { epoch: 7, primaries: ["b", "a"] };
  const round = async () => {
    const outcomes = [];
    for (let i = 0; i < 6; i++) outcomes.push(await sendHeartbeat(primaries[0]));
    return outcomes.sort();
  };
  expect(await round()).toEqual(["moved", ...Array(5).fill("proof")]);
  expect(holders()).toEqual([known === "a" ? "b" : "a"]);
  // Its session may be subscribed where the client takes it to be.
  expect(topology.primaryIdOf(sid)).toBe(known);
  expect(await round()).toEqual(["moved", ...Array(5).fill("proof")]);
  expect(holders()).toEqual([known === "a" ? "b" : "a"]);
  await topology.discover();
  expect(await round()).toEqual(Array(6).fill("proof"));
});

test("a session's channel is in the slot of its key, and its tag shows nothing else of the key", async () => {
  const { topology } = new ScriptedCluster(["a"], 7);
  for (const sid of ["one", "two", "{braces}three", "Zoë"]) {
    const tag = topology.channelTagOf(sid);
    expect(tag).toMatch(/^\{\w{3}\}$/);
    expect(slotOf(`channel:${tag}hash`)).toBe(slotOf(`sess:${sid}`));
  }
});

test("every slot has a tag of its own", () => {
  const slots = Array.from({ length: SLOTS }, (_, slot) => slot);
  expect(slots.map((slot) => slotOf(`:{${tagOf(slot)}}`))).toEqual(slots);
});

test("a heartbeat that was in flight during discover() proves nothing: it may be older", async () => {
  const cluster = new ScriptedCluster(["a", "b"], 7);
  const [a] = await cluster.topology.discover();
  let answer = () => {};
  cluster.answering = new Promise((resolve) => {
    answer = resolve;
  });
  const sending = sendHeartbeat(a);
  cluster.answering = Promise.resolve();
  await cluster.topology.discover();
  answer();
  expect(await sending).toBe("none");
  expect(await sendHeartbeat(a)).toBe("proof");
});

test("whether a subscriber may read is not known while it does not answer", async () => {
  const [primary] = await new ScriptedCluster(["a"], 7, 20).topology.discover();
  const subscriberThat = (answer: () => Promise<unknown[]>) => {
    const batch = { clusterInfo: () => batch, execAsPipeline: answer };
    return { multi: () => batch } as unknown as SubscriberConnection;
  };
  const canRead = (answer: () => Promise<unknown[]>) => primary?.canReadOn(subscriberThat(answer));
  expect(await canRead(async () => ["cluster_state:ok"])).toBe(true);
  expect(await canRead(() => Promise.reject(new Error("ERR only (P|S)SUBSCRIBE")))).toBe(false);
  expect(await canRead(() => Promise.reject(new Error("Socket closed unexpectedly")))).toBe(undefined);
  expect(await canRead(() => new Promise(() => {}))).toBe(undefined);
});
