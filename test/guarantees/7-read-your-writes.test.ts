import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { cacheIn, newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

test("a node reads what it wrote at once, from memory", async () => {
  const { store } = await startNode(newSpace());
  for (let v = 0; v < 50; v++) {
    await store.set("s", sessionOf({ v }));
    expect(valuesOf(await store.get("s"))).toEqual({ v });
  }
  await store.destroy("s");
  expect(await store.get("s")).toBeNull();
});

test("a read that began before a write is not shared with one that begins after it", async () => {
  const { store, data } = await startNode(newSpace(), { readsOnClient: true });
  await store.set("s", sessionOf({ v: "old" }));
  store.evictFromCache("s");
  data.hold("toClient");
  const replied = data.seen("toClient", '"v":"old"');
  const before = store.get("s");
  await replied;
  const writing = store.set("s", sessionOf({ v: "new" }));
  const after = store.get("s");
  data.release("toClient");
  await writing;
  expect(valuesOf(await before)).toEqual({ v: "old" });
  expect(valuesOf(await after)).toEqual({ v: "new" });
  expect(valuesOf(await store.get("s"))).toEqual({ v: "new" });
});

test("every other node reads a write as soon as its message has arrived", async () => {
  const space = newSpace();
  const a = await startNode(space);
  const others = await Promise.all([startNode(space), startNode(space)]);
  await a.store.set("s", sessionOf({ v: 0 }));
  for (const { store } of others) await cacheIn(store, "s");
  for (let v = 1; v <= 20; v++) {
    await a.store.set("s", sessionOf({ v }));
    for (const { store } of others) {
      await eventually(() => store.clusterStats.messagesReceived === v);
      expect(valuesOf(await store.get("s"))).toEqual({ v });
      await cacheIn(store, "s");
      const { hits } = store.cacheStats;
      expect(valuesOf(await store.get("s"))).toEqual({ v });
      expect(store.cacheStats.hits).toBe(hits + 1);
    }
  }
});
