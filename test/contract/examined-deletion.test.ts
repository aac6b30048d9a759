import { expect, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { hookedJson, startIndexed as start } from "../support/indexed.ts";
import { directClient, newSpace, sessionOf, valuesOf, watchCommands } from "../support/node.ts";

/** The ids of the sessions that a store reports as destroyed. */
function recordDestroyed(store: ClusteredRedisStore): string[] {
  const sids: string[] = [];
  store.on("destroyed", (sid: string) => sids.push(sid));
  return sids;
}

test("destroyWhere does not delete who logged in after the predicate had seen the session", async () => {
  const space = newSpace();
  const [a, b] = [await start(space), await start(space)];
  for (let i = 0; i < 50; i++) await a.store.set(`s${i}`, sessionOf({}));
  await a.store.set("anonymous", sessionOf({}));
  const destroyed = [a, b].map(({ store }) => recordDestroyed(store));
  const deleted = await a.store.destroyWhere(async (session, sid) => {
    const isAnonymous = session["user"] === undefined;
    if (isAnonymous && sid !== "anonymous") await b.store.set(sid, sessionOf({ user: "ada" }));
    return isAnonymous;
  });
  expect(deleted).toBe(1);
  expect(await b.store.countOf("ada")).toBe(50);
  for (const sids of destroyed) {
    await eventually(() => sids.length > 0);
    expect(sids).toEqual(["anonymous"]);
  }
});

test("destroyWhere deletes what has changed and still matches; the predicate sees it as it is then", async () => {
  const space = newSpace();
  const [a, b] = [await start(space), await start(space)];
  for (const sid of ["s", "t"]) await a.store.set(sid, sessionOf({ n: 0 }));
  const seen: unknown[] = [];
  const deleted = await a.store.destroyWhere(async (session, sid) => {
    if (sid === "s") seen.push(valuesOf(session));
    if (sid === "s" && session["n"] === 0) await b.store.set(sid, sessionOf({ n: 1 }, 600_000));
    if (sid === "s" && session["n"] === 1) {
      expect(new Date(session.cookie.expires as Date).getTime()).toBeGreaterThan(Date.now() + 500_000);
    }
    return true;
  });
  expect(deleted).toBe(2);
  expect(seen).toEqual([{ n: 0 }, { n: 1 }]);
  expect(await a.store.length()).toBe(0);
});

test("a session that changes faster than it can be examined is a conflict; the others are deleted", async () => {
  const space = newSpace();
  const [a, b] = [await start(space), await start(space)];
  const sids = Array.from({ length: 600 }, (_, i) => `s${i}`);
  await Promise.all(sids.map((sid) => a.store.set(sid, sessionOf({}, 3_600_000))));
  let n = 0;
  const deleting = a.store.destroyWhere(async (_session, sid) => {
    if (sid === "s7") await b.store.set(sid, sessionOf({ n: n++ }, 3_600_000));
    return true;
  });
  await expect(deleting).rejects.toMatchObject({ code: "ERR_SESSION_CONFLICT" });
  // Once when it was found, which SCAN may do twice, and after each conflict.
  expect(n).toBeGreaterThanOrEqual(33);
  expect(await b.store.ids()).toEqual(["s7"]);
});

test("a value that is not valid UTF-8 is deleted like any other", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space);
  await store.set("s", sessionOf({ user: "ada" }));
  const text = Buffer.from(JSON.stringify(sessionOf({ user: "ada", name: "?" })));
  text[text.lastIndexOf("?")] = 0xff;
  for (const destroy of [() => store.destroyWhere(() => true), () => store.destroyAllOf("ada")]) {
    await store.set("s", sessionOf({ user: "ada" }));
    await direct.set(`${space.prefix}s`, text, { expiration: { type: "PX", value: 60_000 } });
    expect(await destroy()).toBe(1);
    expect(await direct.exists(`${space.prefix}s`)).toBe(0);
  }
});

test("destroyAllOf keeps a session that is another user's by then, and names only those that it deleted", async () => {
  const space = newSpace();
  const b = await start(space);
  let isBanned = false;
  const serializer = hookedJson(async (session) => {
    if (!isBanned || session["n"] !== 0) return;
    isBanned = false;
    await b.store.set("s0", sessionOf({ user: "bob" }));
    await b.store.set("s1", sessionOf({ user: "ada", changed: true }));
  });
  const a = await start(space, { localCache: false, serializer });
  for (let n = 4; n >= 0; n--) await a.store.set(`s${n}`, sessionOf({ user: "ada", n }));
  const destroyed = [a, b].map(({ store }) => recordDestroyed(store));
  const commands = await watchCommands(space);
  isBanned = true;
  expect(await a.store.destroyAllOf("ada")).toBe(4);
  expect(valuesOf(await b.store.get("s0"))).toEqual({ user: "bob" });
  expect(await b.store.countOf("bob")).toBe(1);
  expect(await b.store.sessionsOf("ada")).toEqual([]);
  for (const sids of destroyed) {
    await eventually(() => sids.length >= 4);
    expect(sids.toSorted()).toEqual(["s1", "s2", "s3", "s4"]);
  }
  // The two writes of the other process, then a batch of three, and the one that had changed.
  await eventually(() => commands.filter((name) => name === "PUBLISH").length >= 4);
  expect(commands.filter((name) => name === "PUBLISH")).toHaveLength(4);
});

test("destroyAllOf ends against a stream of logins: it deletes the sessions that existed when it was called", async () => {
  const space = newSpace();
  const [a, b] = [await start(space), await start(space)];
  for (let i = 0; i < 100; i++) await a.store.set(`before${i}`, sessionOf({ user: "ada" }));
  let isOver = false;
  let logins = 0;
  const stream = async () => {
    while (!isOver) await b.store.set(`during${logins++}`, sessionOf({ user: "ada" }));
  };
  const streaming = Promise.all([stream(), stream(), stream(), stream()]);
  await eventually(() => logins > 20);
  const deleted = await a.store.destroyAllOf("ada");
  isOver = true;
  await streaming;
  expect(deleted).toBeGreaterThanOrEqual(100);
  expect((await b.store.ids()).filter((sid) => sid.startsWith("before"))).toEqual([]);
  expect(await b.store.countOf("ada")).toBe(100 + logins - deleted);
});

test("ids with quotes, backslashes and other scripts arrive in the message as they are", async () => {
  const space = newSpace();
  const [a, b] = [await start(space), await start(space)];
  const sids = ['a"b', "c\\d", "ü€😀", "line\nbreak", "plain"];
  for (const sid of sids) {
    await a.store.set(sid, sessionOf({ user: "ada" }));
    await b.store.get(sid);
  }
  const destroyed = recordDestroyed(b.store);
  expect(await a.store.destroyAllOf("ada")).toBe(5);
  await eventually(() => destroyed.length >= 5);
  expect(destroyed.toSorted()).toEqual(sids.toSorted());
  for (const sid of sids) expect(await b.store.get(sid)).toBeNull();
});
