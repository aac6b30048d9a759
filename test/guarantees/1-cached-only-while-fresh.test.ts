import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  cacheIn,
  directClient,
  newSpace,
  SHORT_LEASE,
  sessionOf,
  startNode,
  valuesOf,
} from "../support/node.ts";

test("nothing is cached before a heartbeat verifies the subscription", async () => {
  const space = newSpace();
  const direct = await directClient();
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })));
  const { store, bus } = await startNode(space, { live: false, first: (_, bus) => bus.hold("toClient") });
  for (let i = 0; i < 3; i++) expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  expect(store.clusterStats.state).toBe("syncing");
  expect(store.cacheStats).toMatchObject({ size: 0, hits: 0 });
  const live = nextEvent(store, "live");
  bus.release("toClient");
  await live;
  await cacheIn(store, "s");
  const { hits } = store.cacheStats;
  await store.get("s");
  expect(store.cacheStats).toMatchObject({ size: 1, hits: hits + 1 });
});

test("an acknowledged subscription is not enough: until a heartbeat has returned, the store is not live", async () => {
  const { store, data } = await startNode(newSpace(), {
    live: false,
    first: (data) => data.hold("toServer"),
  });
  await data.seen("toServer", "EVALSHA");
  expect(store.clusterStats.state).toBe("syncing");
  const live = nextEvent(store, "live");
  data.release("toServer");
  await live;
  expect(store.clusterStats.state).toBe("live");
});

test("a killed subscriber empties the cache at once, and what it missed is not served after it is live again", async () => {
  const space = newSpace();
  const a = await startNode(space, { cluster: { nodeId: "a" } });
  const b = await startNode(space, { cluster: { nodeId: "b" } });
  await b.store.set("s", sessionOf({ v: 1 }));
  await cacheIn(a.store, "s");
  const suspect = nextEvent(a.store, "suspect");
  a.bus.refuse();
  await suspect;
  expect(a.store.localCache.size).toBe(0);
  await b.store.set("s", sessionOf({ v: 2 }));
  expect(valuesOf(await a.store.get("s"))).toEqual({ v: 2 });
  expect(a.store.localCache.size).toBe(0);
  const live = nextEvent(a.store, "live");
  a.bus.accept();
  await live;
  await b.store.set("s", sessionOf({ v: 3 }));
  await eventually(async () => valuesOf(await a.store.get("s"))?.["v"] === 3);
  await cacheIn(a.store, "s");
});

test("CLIENT KILL of the subscriber is survived: suspect, then live again on a new connection", async () => {
  const direct = await directClient();
  const space = newSpace();
  const name = `victim-of-${space.channel}`;
  const { store, bus } = await startNode(space, { client: { name } });
  const suspect = nextEvent(store, "suspect");
  const live = nextEvent(store, "live");
  const clients = String(await direct.sendCommand(["CLIENT", "LIST"]));
  const line = clients.split("\n").find((text) => text.includes(`name=${name}:subscriber`));
  const id = /\bid=(\d+)/.exec(line ?? "")?.[1];
  await direct.sendCommand(["CLIENT", "KILL", "ID", String(id)]);
  await suspect;
  await live;
  expect(bus.accepted).toBe(2);
});

for (const direction of ["toClient", "toServer"] as const) {
  test(`a subscriber that is silent (${direction}) is detected by the lease, and its connection replaced`, async () => {
    const space = newSpace();
    const a = await startNode(space, { cluster: SHORT_LEASE });
    const b = await startNode(space);
    await b.store.set("s", sessionOf({ v: 1 }));
    await cacheIn(a.store, "s");
    const suspect = nextEvent(a.store, "suspect");
    if (direction === "toClient") a.bus.swallow("toClient");
    else {
      // Heartbeats return over the half that works, so only a new connection can be silent in this direction.
      a.bus.swallow("toServer");
      a.bus.cut();
    }
    await b.store.set("s", sessionOf({ v: 2 }));
    await suspect;
    expect(valuesOf(await a.store.get("s"))).toEqual({ v: 2 });
    expect(a.store.localCache.size).toBe(0);
    const accepted = a.bus.accepted;
    await eventually(() => a.bus.accepted > accepted);
    const live = nextEvent(a.store, "live");
    a.bus.pass();
    await live;
    await b.store.set("s", sessionOf({ v: 3 }));
    await eventually(async () => valuesOf(await a.store.get("s"))?.["v"] === 3);
  });
}

test("a lapsed lease is detected by the first hit, without a timer", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { cluster: SHORT_LEASE });
  await store.set("s", sessionOf({ v: 1 }));
  await cacheIn(store, "s");
  const { hits } = store.cacheStats;
  const until = performance.now() + SHORT_LEASE.leaseMs;
  while (performance.now() < until);
  const read = store.get("s");
  expect(store.clusterStats.state).toBe("suspect");
  expect(store.cacheStats.hits).toBe(hits);
  expect(valuesOf(await read)).toEqual({ v: 1 });
});

test("a subscription that was only late is live again without a new connection", async () => {
  const { store, bus } = await startNode(newSpace(), { cluster: SHORT_LEASE });
  const live = nextEvent(store, "live");
  const until = performance.now() + SHORT_LEASE.leaseMs;
  while (performance.now() < until);
  store.coordinator?.isLive(performance.now());
  expect(store.clusterStats.state).toBe("suspect");
  await live;
  expect(bus.accepted).toBe(1);
});

test("heartbeats use the data connection: when that is held, the lease lapses though the subscriber is well", async () => {
  const { store, data, bus } = await startNode(newSpace(), { cluster: SHORT_LEASE });
  const suspect = nextEvent(store, "suspect");
  data.hold("toServer");
  await suspect;
  const live = nextEvent(store, "live");
  data.release("toServer");
  await live;
  expect(bus.accepted).toBe(1);
});

test("a suspended machine is detected by its wall clock", async () => {
  const { store } = await startNode(newSpace());
  const suspect = nextEvent(store, "suspect");
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 });
  try {
    await suspect;
  } finally {
    vi.useRealTimers();
  }
  await nextTurn();
});
