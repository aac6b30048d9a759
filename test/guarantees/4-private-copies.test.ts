import type { SessionData } from "express-session";
import { expect, test } from "vitest";
import { newSpace, sessionOf, setAndReceive, startNode, valuesOf } from "../support/node.ts";

type Cart = SessionData & { cart: { items: string[] } };

async function mutateAndReadAgain(read: () => Promise<SessionData | null>): Promise<void> {
  const mine = (await read()) as Cart;
  mine.cart.items.push("mine");
  mine.cookie.path = "/mine";
  const next = (await read()) as Cart;
  expect(next.cart.items).toEqual(["a"]);
  expect(next.cookie.path).toBe("/");
  expect(next).not.toBe(mine);
}

test("what a hit returns can be changed without anybody noticing", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf({ cart: { items: ["a"] } }));
  await mutateAndReadAgain(() => store.get("s"));
  expect(store.cacheStats.hits).toBe(2);
});

test("what a miss returns can be changed without anybody noticing", async () => {
  const { store } = await startNode(newSpace());
  await setAndReceive(store, "s", sessionOf({ cart: { items: ["a"] } }));
  store.evictFromCache("s");
  await mutateAndReadAgain(() => store.get("s"));
  expect(store.cacheStats).toMatchObject({ hits: 1, misses: 1 });
});

test("those who share one read from Redis get a copy each", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf({ cart: { items: ["a"] } }));
  store.evictFromCache("s");
  const [one, other] = (await Promise.all([store.get("s"), store.get("s")])) as [Cart, Cart];
  expect(one).not.toBe(other);
  one.cart.items.push("mine");
  expect(other.cart.items).toEqual(["a"]);
});

test("a session that changes after set is cached, and written, as it was when set was called", async () => {
  const { store } = await startNode(newSpace());
  const session = sessionOf({ v: 1 });
  const writing = store.set("s", session);
  Object.assign(session, { v: 2 });
  await writing;
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
});

test("with a custom serializer, too, each caller gets a copy", async () => {
  const serializer = { stringify: JSON.stringify, parse: (text: string) => JSON.parse(text) };
  const { store } = await startNode(newSpace(), { store: { serializer } });
  await store.set("s", sessionOf({ cart: { items: ["a"] } }));
  await mutateAndReadAgain(() => store.get("s"));
  expect(store.cacheStats.hits).toBe(2);
});

test("a hit and a miss return the same: what JSON.parse returns", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf({ date: new Date(0), gone: undefined, nested: { list: [undefined] } }));
  const hit = await store.get("s");
  store.evictFromCache("s");
  const miss = await store.get("s");
  expect(valuesOf(hit)).toEqual({ date: "1970-01-01T00:00:00.000Z", nested: { list: [null] } });
  expect(valuesOf(hit)).toEqual(valuesOf(miss));
  expect(typeof hit?.cookie.expires).toBe("string");
  expect(typeof miss?.cookie.expires).toBe("string");
});
