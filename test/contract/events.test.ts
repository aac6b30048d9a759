import { expect, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { indexBy } from "../support/indexed.ts";
import { directClient, newSpace, ownRedis, sessionOf, startNode } from "../support/node.ts";

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
