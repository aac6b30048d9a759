import { expect, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { indexBy } from "../support/indexed.ts";
import {
  directClient,
  newSpace,
  ownRedis,
  recordEvents,
  sessionOf,
  setAndReceive,
  startNode,
} from "../support/node.ts";

test("every node emits destroyed once, with who destroyed the session and how", async () => {
  const space = newSpace();
  const [a, b] = await Promise.all(
    ["web-1", "web-2"].map((nodeId) => startNode(space, { store: { indexBy }, cluster: { nodeId } })),
  );
  const seen = [a, b].map((node) => {
    const events: unknown[] = [];
    node?.store.on("destroyed", (...args: unknown[]) => events.push(args));
    return events;
  });
  for (const sid of ["s", "t", "u"]) await a?.store.set(sid, sessionOf({ user: sid }));
  await a?.store.destroy("s");
  await a?.store.destroyAllOf("t");
  await a?.store.destroyWhere(() => true);
  const expected = [
    ["s", "web-1", "destroy"],
    ["t", "web-1", "destroyAllOf"],
    ["u", "web-1", "destroyWhere"],
  ];
  for (const events of seen) {
    await eventually(() => events.length >= 3);
    expect(events).toEqual(expected);
  }
});

const DELETIONS = [
  ["destroy", (store: ClusteredRedisStore) => store.destroy("s")],
  ["destroyAllOf", (store: ClusteredRedisStore) => store.destroyAllOf("ann")],
  ["destroyWhere", (store: ClusteredRedisStore) => store.destroyWhere(() => true)],
] as const;

test.each(DELETIONS)(
  "%s emits destroyed once if its message arrives before its reply",
  async (reason, destroy) => {
    const { store, data, bus } = await startNode(newSpace(), {
      cluster: { nodeId: "web-1" },
      store: { indexBy },
    });
    // Then Redis knows the script.
    await setAndReceive(store, "s", sessionOf({ user: "ann" }));
    await destroy(store);
    await setAndReceive(store, "s", sessionOf({ user: "ann" }));
    const events = recordEvents(store, ["destroyed", "invalidate"]);
    const sent = data.seen("toServer", `"${reason}"`);
    const announced = bus.seen("toClient", `"${reason}"`);
    const { messagesReceived } = store.clusterStats;
    const destroying = destroy(store);
    await sent;
    data.hold("toClient");
    await announced;
    await eventually(() => store.clusterStats.messagesReceived > messagesReceived);
    data.release("toClient");
    await destroying;
    expect(events).toEqual([{ name: "destroyed", args: ["s", "web-1", reason] }]);
  },
);

test.each(DELETIONS)(
  "%s emits destroyed once if message and reply arrive after its timeout",
  async (reason, destroy) => {
    const { store, data, bus } = await startNode(newSpace(), {
      cluster: { nodeId: "web-1" },
      store: { indexBy },
    });
    const write = () => store.set("s", sessionOf({ user: "ann" }));
    // Then Redis knows the script.
    await write();
    await destroy(store);
    await setAndReceive(store, "s", sessionOf({ user: "ann" }));
    const events = recordEvents(store, ["destroyed"]);
    const sent = data.seen("toServer", `"${reason}"`);
    bus.hold("toClient");
    const destroying = expect(destroy(store)).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
    await sent;
    data.hold("toClient");
    await destroying;
    bus.release("toClient");
    await eventually(() => events.length > 0);
    data.release("toClient");
    // This waits until the deletion has settled.
    await eventually(() =>
      write().then(
        () => true,
        () => false,
      ),
    );
    expect(events).toEqual([{ name: "destroyed", args: ["s", "web-1", reason] }]);
  },
);

test("with cluster.expiredEvents a node emits expired for sessions that Redis expires", async () => {
  const space = newSpace();
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  await direct.configSet("notify-keyspace-events", "Ex");
  const { store } = await startNode(space, { url, cluster: { expiredEvents: true } });
  const quiet = await startNode(space, { url });
  quiet.store.on("expired", () => expect.unreachable());
  const expired = nextEvent(store, "expired");
  await store.set("s", sessionOf({}, 50));
  expect(await expired).toEqual(["s"]);
  expect(store.clusterStats.messagesIgnored).toBe(0);
});
