import { randomUUID } from "node:crypto";
import { expect, inject, onTestFinished, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  directClient,
  newSpace,
  refusalWhenReady,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

test("a write and its message are one transaction, sent in one piece", async () => {
  const space = newSpace();
  const { store, data } = await startNode(space);
  const commands = await watchCommands(space);
  // If they were not sent together, holding back the reply to the first would hold back the rest.
  data.hold("toClient");
  const writing = store.set("s", sessionOf());
  await eventually(() => commands.includes("PUBLISH"));
  expect(commands.filter((command) => command !== "GETRANGE")).toEqual(["SET", "PUBLISH"]);
  data.release("toClient");
  await writing;
});

test("when Redis refuses the message, nothing is written, and the error names the permission", async () => {
  const space = newSpace();
  const direct = await directClient();
  const user = `user-${randomUUID()}`;
  await direct.sendCommand(["ACL", "SETUSER", user, "on", ">secret", "+@all", "~*", "resetchannels"]);
  onTestFinished(async () => {
    await (await directClient()).sendCommand(["ACL", "DELUSER", user]);
  });
  const url = new URL(inject("redisUrl"));
  url.username = user;
  url.password = "secret";
  const { store } = await startNode(space, {
    url: url.href,
    live: false,
    cluster: { subscribeTimeoutMs: 1_000 },
  });
  const reported = nextEvent(store, "clusterError");
  await expect(store.set("s", sessionOf())).rejects.toThrow(/NOPERM/);
  expect(await direct.exists(`${space.prefix}s`)).toBe(0);
  await reported;
  await refusalWhenReady(store, /NOPERM/);
});

test("when Redis refuses the write, nothing is published", async () => {
  const space = newSpace();
  const direct = await directClient();
  const user = `user-${randomUUID()}`;
  await direct.sendCommand(["ACL", "SETUSER", user, "on", ">secret", "+@all", "-set", "~*", "&*"]);
  onTestFinished(async () => {
    await (await directClient()).sendCommand(["ACL", "DELUSER", user]);
  });
  const url = new URL(inject("redisUrl"));
  url.username = user;
  url.password = "secret";
  const a = await startNode(space, { url: url.href });
  const b = await startNode(space);
  await b.store.set("s", sessionOf());
  await eventually(() => b.store.clusterStats.messagesReceived === 1);
  await expect(a.store.set("s", sessionOf())).rejects.toThrow(/NOPERM/);
  // Messages arrive in order: once this one is there, an earlier one would be.
  const heard = nextEvent(b.store, "destroyed");
  await a.store.destroy("other");
  await heard;
  expect(b.store.clusterStats.messagesReceived).toBe(2);
});

test("a write without an answer in time is an error, and its session is read again", async () => {
  const space = newSpace();
  const { store, data } = await startNode(space, { store: { commandTimeoutMs: 1_000 } });
  await store.set("s", sessionOf({ v: 1 }));
  data.hold("toClient");
  await expect(store.set("s", sessionOf({ v: 2 }))).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  expect(store.localCache.peek("s")).toBeUndefined();
  data.release("toClient");
  // Until the held reply arrives, the outage may be known: reads fail at once then.
  expect(valuesOf(await eventually(() => store.get("s")))).toEqual({ v: 2 });
});

test("a write whose connection is cut before the answer is an error, and its session is read again", async () => {
  const space = newSpace();
  const { store, data } = await startNode(space);
  await store.set("s", sessionOf({ v: 1 }));
  data.hold("toClient");
  const carriedOut = data.seen("toClient", "QUEUED");
  const writing = store.set("s", sessionOf({ v: 2 }));
  await carriedOut;
  data.cut();
  await expect(writing).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
  expect(store.localCache.peek("s")).toBeUndefined();
  data.pass();
  expect(valuesOf(await store.get("s"))).toEqual({ v: 2 });
});

test("a destroy that fails is reported: a logout cannot fail silently", async () => {
  const { store, data } = await startNode(newSpace(), { store: { commandTimeoutMs: 1_000 } });
  await store.set("s", sessionOf());
  data.hold("toServer");
  await expect(store.destroy("s")).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  // As express-session calls it for req.session.destroy() without a callback.
  const reported: Error[] = [];
  store.on("clusterError", (error) => reported.push(error));
  void store.destroy("s");
  // By now the outage may be known: then it fails at once.
  await eventually(() => reported.some(({ message }) => message.startsWith("destroy of session ")));
  data.release("toServer");
});
