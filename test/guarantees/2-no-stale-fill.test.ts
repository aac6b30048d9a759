import { expect, test } from "vitest";
import { nextEvent } from "../support/eventually.ts";
import { directClient, type Node, newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

/** Two nodes, and a session in Redis that node a has begun to read: the reply is held back in its proxy. */
async function readHeldAtA() {
  const space = newSpace();
  // On a subscriber's connection, replies and messages are in order by themselves.
  const store = { commandTimeoutMs: 60_000 };
  const a = await startNode(space, { cluster: { nodeId: "a" }, store, readsOnClient: true });
  const b = await startNode(space, { cluster: { nodeId: "b" } });
  await b.store.set("s", sessionOf({ v: "old" }));
  a.data.hold("toClient");
  const replied = a.data.seen("toClient", '"v":"old"');
  const reading = a.store.get("s").then(valuesOf);
  await replied;
  return { space, a, b, reading };
}

async function expectRefused(a: Node, reading: Promise<unknown>, now: unknown): Promise<void> {
  a.data.release("toClient");
  expect(await reading).toEqual({ v: "old" });
  expect(a.store.localCache.peek("s")).toBeUndefined();
  expect(a.store.clusterStats.fencedFills).toBe(1);
  expect(valuesOf(await a.store.get("s"))).toEqual(now);
}

test("a reply is not cached when the session was written elsewhere while it was under way", async () => {
  const { a, b, reading } = await readHeldAtA();
  const heard = nextEvent(a.store, "invalidate");
  await b.store.set("s", sessionOf({ v: "new" }));
  await heard;
  await expectRefused(a, reading, { v: "new" });
});

test("a reply is not cached when the session was destroyed elsewhere while it was under way", async () => {
  const { a, b, reading } = await readHeldAtA();
  const heard = nextEvent(a.store, "destroyed");
  await b.store.destroy("s");
  await heard;
  await expectRefused(a, reading, null);
});

test("a reply is not cached when all sessions were cleared elsewhere while it was under way", async () => {
  const { a, b, reading } = await readHeldAtA();
  const heard = nextEvent(a.store, "flush");
  await b.store.clear();
  await heard;
  await expectRefused(a, reading, null);
});

test("a reply is not cached when the subscription was lost and regained while it was under way", async () => {
  const { a, b, reading } = await readHeldAtA();
  const suspect = nextEvent(a.store, "suspect");
  a.bus.refuse();
  await suspect;
  await b.store.set("s", sessionOf({ v: "new" }));
  const live = nextEvent(a.store, "live");
  const subscribing = a.bus.seen("toServer", "subscribe");
  a.bus.accept();
  await subscribing;
  // The heartbeats' replies are held behind that to the read.
  await expectRefused(a, reading, { v: "new" });
  await live;
});

test("a reply is not cached when the session was evicted here while it was under way", async () => {
  const { space, a, reading } = await readHeldAtA();
  const direct = await directClient();
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: "new" })));
  a.store.evictFromCache("s");
  await expectRefused(a, reading, { v: "new" });
});

test("a message that arrives during an asynchronous parse keeps the reply out, too", async () => {
  const space = newSpace();
  let finishParse = () => {};
  let parseBegan = () => {};
  const began = new Promise<void>((resolve) => {
    parseBegan = resolve;
  });
  const serializer = {
    stringify: JSON.stringify,
    parse: async (text: string) => {
      parseBegan();
      if (text.includes('"old"')) await new Promise<void>((resolve) => (finishParse = resolve));
      return JSON.parse(text);
    },
  };
  const a = await startNode(space, { store: { serializer } });
  const b = await startNode(space);
  await b.store.set("s", sessionOf({ v: "old" }));
  const reading = a.store.get("s");
  await began;
  const heard = nextEvent(a.store, "invalidate");
  await b.store.set("s", sessionOf({ v: "new" }));
  await heard;
  finishParse();
  expect(valuesOf(await reading)).toEqual({ v: "old" });
  expect(a.store.localCache.peek("s")).toBeUndefined();
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: "new" });
});

test("a late message does not let an older write into the cache: a later write evicts what this node wrote", async () => {
  const space = newSpace();
  const a = await startNode(space, { store: { commandTimeoutMs: 60_000 } });
  const b = await startNode(space);
  // Redis executes a's write, then b's; a receives b's message before the reply to its own write.
  a.data.hold("toClient");
  const carriedOut = a.bus.seen("toClient", `2 ${a.store.coordinator?.instanceId} `);
  const writing = a.store.set("s", sessionOf({ v: "a" }));
  await carriedOut;
  const heard = nextEvent(a.store, "invalidate");
  await b.store.set("s", sessionOf({ v: "b" }));
  await heard;
  a.data.release("toClient");
  await writing;
  expect(a.store.localCache.peek("s")).toBeUndefined();
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: "b" });
});
