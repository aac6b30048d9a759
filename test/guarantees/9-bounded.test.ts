import { expect, test } from "vitest";
import { decodeMessage, encodeInvalidation, encodeMessage } from "../../lib/invalidation/messages.ts";
import { eventually } from "../support/eventually.ts";
import { directClient, newSpace, ownRedis, sessionOf, startNode, valuesOf } from "../support/node.ts";

test("the cache holds no more than maxSize sessions", async () => {
  const { store } = await startNode(newSpace(), { store: { localCache: { maxSize: 10 } } });
  for (let i = 0; i < 30; i++) await store.set(`s${i}`, sessionOf());
  expect(store.cacheStats).toMatchObject({ size: 10, evictions: 20 });
});

test("the cache holds no more than maxBytes", async () => {
  const maxBytes = 40_000;
  const { store } = await startNode(newSpace(), { store: { localCache: { maxBytes } } });
  for (let i = 0; i < 30; i++) await store.set(`s${i}`, sessionOf({ text: "x".repeat(500) }));
  expect(store.cacheStats.bytes).toBeLessThanOrEqual(maxBytes);
  expect(store.cacheStats.size).toBeGreaterThan(3);
  const { size } = store.cacheStats;
  await store.set("huge", sessionOf({ text: "x".repeat(maxBytes / 16) }));
  expect(store.localCache.peek("huge")).toBeUndefined();
  expect(valuesOf(await store.get("huge"))?.["text"]).toHaveLength(maxBytes / 16);
  expect(store.localCache.peek("huge")).toBeUndefined();
  // It has evicted none of the others.
  expect(store.cacheStats.size).toBe(size);
});

test("invalid messages are counted and ignored, and nothing else happens", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await store.set("s", sessionOf());
  await eventually(() => store.clusterStats.messagesReceived === 1);
  const message = {
    type: "SessionDeleted",
    instanceId: "somebody",
    sequence: 1,
    nodeId: "somebody",
    prefix: space.prefix,
    sentAt: 0,
    sids: ["s"],
    reason: "destroy",
  } as const;
  const garbage = [
    "",
    "hello",
    "null",
    "[]",
    "{}",
    '{"version":2}',
    encodeMessage(message).replace('"version":2', '"version":1'),
    encodeMessage({ ...message, prefix: "another:" }),
    JSON.stringify({ ...message, version: 2, sids: "s" }),
    JSON.stringify({ ...message, version: 2, sids: [1] }),
    JSON.stringify({ ...message, version: 2, type: "Surprise" }),
    encodeMessage({ ...message, sids: Array.from({ length: 1_001 }, () => "s") }),
    encodeMessage({ ...message, sids: [""] }),
    encodeMessage({ ...message, sids: ["s".repeat(1_025)] }),
    encodeMessage({ ...message, nodeId: "a\nforged line" }),
    encodeMessage({ ...message, nodeId: "n".repeat(257) }),
    JSON.stringify({ ...message, version: 2, type: "SessionInvalidated" }),
    JSON.stringify({ ...message, version: 2, reason: "because" }),
    encodeInvalidation(message),
    `${encodeMessage(message)}x`,
    "x".repeat(2 * 1024 * 1024),
  ];
  for (const text of garbage) await direct.publish(space.channel, text);
  await eventually(() => store.clusterStats.messagesReceived === 1 + garbage.length);
  expect(store.clusterStats).toMatchObject({
    messagesIgnored: garbage.length,
    invalidations: 0,
    state: "live",
  });
  expect(store.localCache.size).toBe(1);
  // The same message is obeyed when it is valid.
  await direct.publish(space.channel, encodeMessage(message));
  await eventually(() => store.clusterStats.invalidations === 1);
  expect(store.localCache.size).toBe(0);
});

test("so are those on the channel of a session", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await store.set("s", sessionOf());
  await eventually(() => store.clusterStats.messagesReceived === 1);
  const channel = String(store.coordinator?.sessions.channelOf("s"));
  const message = { instanceId: "somebody", sequence: 1, nodeId: "somebody" };
  const garbage = [
    "",
    "hello",
    "2",
    "1 somebody 1 somebody",
    "2 somebody 1",
    "2 somebody -1 somebody",
    encodeInvalidation({ ...message, sequence: 2 ** 53 }),
    encodeInvalidation({ ...message, nodeId: "a\nforged line" }),
    encodeInvalidation({ ...message, nodeId: "n".repeat(257) }),
    `${encodeInvalidation(message)}\n`,
    "x".repeat(2 * 1024 * 1024),
  ];
  for (const text of garbage) await direct.publish(channel, text);
  await eventually(() => store.clusterStats.messagesReceived === 1 + garbage.length);
  expect(store.clusterStats).toMatchObject({ messagesIgnored: garbage.length, invalidations: 0 });
  expect(store.localCache.size).toBe(1);
  await direct.publish(channel, encodeInvalidation(message));
  await eventually(() => store.clusterStats.invalidations === 1);
  expect(store.localCache.size).toBe(0);
});

test("garbage on the heartbeats' channel proves nothing and harms nothing", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  for (const text of ["", "x", "-1", "1e9", "0", "NaN"]) {
    await direct.publish(`${space.channel}:${store.coordinator?.instanceId}`, text);
  }
  await store.set("s", sessionOf());
  await eventually(() => store.clusterStats.messagesReceived === 1);
  expect(store.clusterStats.state).toBe("live");
});

test("a session id that no message could carry is refused before anything is written", async () => {
  const { store } = await startNode(newSpace());
  await expect(store.set("x".repeat(1025), sessionOf())).rejects.toThrow(
    /^sid: expected a string of 1 to 1024/,
  );
  for (const sid of ["a\ud800", "\udc00", "\udc00\ud800"]) {
    await expect(store.set(sid, sessionOf())).rejects.toThrow(TypeError);
    await expect(store.destroy(sid)).rejects.toThrow(/got a string with a lone surrogate$/);
  }
  const longest = "\u0001".repeat(1024);
  await store.set(longest, sessionOf({ v: 1 }));
  expect(valuesOf(await store.get(longest))).toEqual({ v: 1 });
});

test("the message of the largest batch can be read", async () => {
  const base = { instanceId: "i".repeat(36), sequence: 1, nodeId: "n".repeat(256), sentAt: 0 };
  const sids = Array.from({ length: 100 }, () => "\u0001".repeat(1024));
  const reason = "destroyAllOf";
  const message = { type: "SessionDeleted", ...base, prefix: "\u0001".repeat(1024), sids, reason } as const;
  expect(decodeMessage(encodeMessage(message))).toEqual(message);
});

test("sessions deleted by the thousand are named in messages of at most a thousand, and all are invalidated", async () => {
  const space = newSpace();
  // Nobody else deletes anything there.
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  const a = await startNode(space, { url, store: { scanCount: 10_000 } });
  const b = await startNode(space, { url });
  const sids = Array.from({ length: 2_100 }, (_, i) => `s${i}`);
  const text = JSON.stringify(sessionOf());
  await direct.mSet(sids.map((sid): [string, string] => [space.prefix + sid, text]));
  // Keys whose names are no session ids.
  await direct.mSet(
    [space.prefix, `${space.prefix}${"x".repeat(1_025)}`].map((key): [string, string] => [key, text]),
  );
  for (const sid of ["s0", "s2099"]) await b.store.get(sid);
  expect(await a.store.destroyWhere(() => true)).toBe(2_102);
  await eventually(() => b.store.localCache.size === 0);
  expect(b.store.clusterStats.messagesIgnored).toBe(0);
});
