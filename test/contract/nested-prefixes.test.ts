import { expect, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { directClient, newSpace, recordEvents, sessionOf, startNode, valuesOf } from "../support/node.ts";

/** Two stores on one channel, the prefix of one of which begins with the other's. */
async function startNested() {
  const space = newSpace();
  const outer = await startNode(space, { cluster: { nodeId: "outer" } });
  const inner = await startNode({ ...space, prefix: `${space.prefix}a:` }, { cluster: { nodeId: "inner" } });
  await inner.store.set("s", sessionOf({ v: 1 }));
  expect(inner.store.localCache.peek("s")).toBeDefined();
  return { outer: outer.store, inner: inner.store, prefix: space.prefix };
}

test("clear of the outer store empties the cache of the inner one", async () => {
  const { outer, inner } = await startNested();
  const flush = nextEvent(inner, "flush");
  await outer.clear();
  await flush;
  expect(await inner.get("s")).toBeNull();
});

test("what the outer store writes and destroys by its own name for the session is invalidated in the inner one", async () => {
  const { outer, inner } = await startNested();
  const events = recordEvents(inner, ["invalidate", "destroyed"]);
  await outer.set("a:s", sessionOf({ v: 2 }));
  await eventually(async () => valuesOf(await inner.get("s"))?.["v"] === 2);
  await outer.destroy("a:s");
  await eventually(async () => (await inner.get("s")) === null);
  expect(events).toEqual([
    { name: "invalidate", args: ["s", "outer"] },
    { name: "invalidate", args: ["s", "outer"] },
    { name: "destroyed", args: ["s", "outer", "destroy"] },
  ]);
});

test("users whose names differ from the other store's by the prefix alone have an index of their own", async () => {
  const space = newSpace();
  const indexBy = (session: object) => (session as { user?: string }).user;
  const { store: outer } = await startNode(space, { store: { indexBy } });
  const { store: inner } = await startNode({ ...space, prefix: `${space.prefix}a:` }, { store: { indexBy } });
  await outer.set("o", sessionOf({ user: "a:bob" }));
  await inner.set("i", sessionOf({ user: "bob" }));
  // A listing removes the entries of sessions that do not exist.
  for (let i = 0; i < 2; i++) {
    expect((await outer.sessionsOf("a:bob")).map(({ sid }) => sid)).toEqual(["o"]);
    expect((await inner.sessionsOf("bob")).map(({ sid }) => sid)).toEqual(["i"]);
  }
  expect(await outer.destroyAllOf("a:bob")).toBe(1);
  expect(await inner.destroyAllOf("bob")).toBe(1);
});

test("other sessions of the outer store, and all of the inner one for the outer, are ignored", async () => {
  const { outer, inner, prefix } = await startNested();
  const direct = await directClient();
  const [ignoredInside, ignoredOutside] = [inner, outer].map((store) => store.clusterStats.messagesIgnored);
  await outer.set("s", sessionOf({ v: 3 }));
  await outer.destroy("s");
  await eventually(() => inner.clusterStats.messagesIgnored === Number(ignoredInside) + 1);
  expect(inner.localCache.peek("s")).toBeDefined();
  await outer.set("s", sessionOf({ v: 3 }));
  await inner.destroy("s");
  await eventually(() => outer.clusterStats.messagesIgnored === Number(ignoredOutside) + 1);
  expect(await direct.exists(`${prefix}s`)).toBe(1);
});
