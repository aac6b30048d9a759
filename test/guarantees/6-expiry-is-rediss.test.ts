import { expect, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { cacheIn, directClient, newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

test("no hit outlives the key: once Redis has dropped it, the cache does not serve it", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await store.set("written", sessionOf({}, 4_000));
  await direct.set(`${space.prefix}read`, JSON.stringify(sessionOf()), {
    expiration: { type: "PX", value: 4_000 },
  });
  await cacheIn(store, "read");
  expect(store.localCache.size).toBe(2);
  for (const sid of ["written", "read"]) {
    await eventually(async () => (await direct.exists(space.prefix + sid)) === 0);
    expect(await store.get(sid)).toBeNull();
  }
});

test("a session of 5 ms expires in Redis after 5 ms, not after a second", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await store.set("s", sessionOf({}, 5));
  const left = await direct.pTTL(`${space.prefix}s`);
  expect(left).toBeLessThanOrEqual(5);
});

test("an entry expires after localCache.ttlMs though its key lives on", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { localCache: { ttlMs: 200 } } });
  await store.set("s", sessionOf({ v: 1 }));
  // Behind the store's back, so that nothing but the end of the entry lets it be seen.
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 2 })));
  await eventually(async () => valuesOf(await store.get("s"))?.["v"] === 2);
});

test("a touch with an earlier expiry invalidates the copies of others", async () => {
  const space = newSpace();
  const direct = await directClient();
  const a = await startNode(space);
  const b = await startNode(space);
  await a.store.set("s", sessionOf());
  await cacheIn(b.store, "s");
  const heard = nextEvent(b.store, "invalidate");
  await a.store.touch("s", sessionOf({}, 300));
  await heard;
  await b.store.get("s");
  await eventually(async () => (await direct.exists(`${space.prefix}s`)) === 0);
  expect(await b.store.get("s")).toBeNull();
});

test("a touch that does not know that its expiry is earlier invalidates them, too", async () => {
  const space = newSpace();
  const direct = await directClient();
  const everyTouch = { store: { touchAfterMs: 0 } };
  const a = await startNode(space, everyTouch);
  const b = await startNode(space, everyTouch);
  const c = await startNode(space);
  await a.store.set("s", sessionOf({}, 10_000));
  await b.store.get("s");
  // An extension is not published, so b still assumes ten seconds.
  await a.store.touch("s", sessionOf({}, 60_000));
  await cacheIn(c.store, "s");
  const heard = nextEvent(c.store, "invalidate");
  await b.store.touch("s", sessionOf({}, 20_000));
  await heard;
  expect(await direct.pTTL(`${space.prefix}s`)).toBeLessThanOrEqual(20_000);
});

test("a touch that extends by the lifetime that the session was loaded with is not published", async () => {
  const space = newSpace();
  const a = await startNode(space, { store: { touchAfterMs: 0 } });
  const b = await startNode(space);
  await a.store.set("s", sessionOf({}, 60_000));
  const session = (await a.store.get("s")) ?? expect.fail("no session");
  session.cookie.expires = new Date(Date.now() + 60_000);
  await b.store.get("s");
  await a.store.touch("s", session);
  const received = nextEvent(b.store, "invalidate");
  await a.store.touch("s", sessionOf({}, 20_000));
  await received;
  expect(a.store.clusterStats.messagesPublished).toBe(2);
  expect(b.store.clusterStats.messagesReceived).toBe(1);
});

test("a touch with another lifetime is published: a process with an older copy shortens it again", async () => {
  const space = newSpace();
  const direct = await directClient();
  const a = await startNode(space);
  const b = await startNode(space);
  await a.store.set("s", sessionOf({}, 600_000));
  const session = (await b.store.get("s")) ?? expect.fail("no session");
  const received = nextEvent(b.store, "invalidate");
  await a.store.touch("s", sessionOf({}, 30 * 86_400_000));
  await received;
  await b.store.touch("s", session);
  expect(await direct.pTTL(`${space.prefix}s`)).toBeLessThanOrEqual(600_000);
});

test("a read after the key's expiry does not share the reply of one before, however late that arrives", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store, data } = await startNode(space, {
    store: { commandTimeoutMs: 60_000 },
    readsOnClient: true,
  });
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })), {
    expiration: { type: "PX", value: 4_000 },
  });
  data.hold("toClient");
  const replied = data.seen("toClient", '"v":1');
  const before = store.get("s");
  await replied;
  await eventually(async () => (await direct.exists(`${space.prefix}s`)) === 0);
  const after = store.get("s");
  data.release("toClient");
  expect(valuesOf(await before)).toEqual({ v: 1 });
  expect(await after).toBeNull();
});

test("what was read before an own touch was executed is not served after the expiry that the touch sets, however late its reply", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store, data, bus } = await startNode(space);
  // The store reads on the subscriber's connection as soon as it knows that it can.
  let readsThere = false;
  const reading = bus.seen("toServer", "GETRANGE").then(() => {
    readsThere = true;
  });
  await eventually(async () => {
    await store.get("other");
    return readsThere;
  });
  await reading;
  // From here on Redis knows the script: the touch is one command.
  await store.set("other", sessionOf());
  await store.touch("other", sessionOf({}, 1_000));
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ v: 1 })), {
    expiration: { type: "PX", value: 60_000 },
  });
  data.hold("toServer");
  const touched = store.touch("s", sessionOf({}, 300));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  data.hold("toClient");
  bus.hold("toClient");
  data.release("toServer");
  await eventually(async () => (await direct.exists(`${space.prefix}s`)) === 0);
  const after = store.get("s");
  data.release("toClient");
  bus.release("toClient");
  expect(await after).toBeNull();
  await touched;
});

test("cookie.expires is when the key really expires, as last touched, from Redis and from memory", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { touchAfterMs: 0 } });
  await store.set("s", sessionOf({}, 60_000));
  await store.touch("s", sessionOf({}, 600_000));
  const stored = JSON.parse(String(await direct.get(`${space.prefix}s`)));
  const fromMemory = await store.get("s");
  store.evictFromCache("s");
  const fromRedis = await store.get("s");
  const end = Date.now() + (await direct.pTTL(`${space.prefix}s`));
  for (const session of [fromMemory, fromRedis]) {
    expect(session?.cookie.expires).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    const expires = new Date(String(session?.cookie.expires)).getTime();
    expect(Math.abs(end - expires)).toBeLessThan(30_000);
    expect(expires).toBeGreaterThan(new Date(stored.cookie.expires).getTime() + 300_000);
  }
});

test("cookie.expires stays null for a browser session", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf({}, null));
  expect((await store.get("s"))?.cookie.expires).toBeNull();
  store.evictFromCache("s");
  expect((await store.get("s"))?.cookie.expires).toBeNull();
});
