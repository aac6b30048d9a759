import type { SessionData } from "express-session";
import { expect, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import { indexBy, startIndexed as start } from "../support/indexed.ts";
import {
  cacheIn,
  directClient,
  loadAsRequest,
  newSpace,
  type Space,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

const sidsOf = async (store: ClusteredRedisStore, user: string) =>
  (await store.sessionsOf(user)).map(({ sid }) => sid);

/** What there is of the index in Redis. */
async function indexKeys(space: Space): Promise<string[]> {
  const direct = await directClient();
  return direct.keys(`idx:{${space.prefix}*`);
}

test("a user's sessions are found, on whatever node they were written, the newest first", async () => {
  const space = newSpace();
  const a = await start(space);
  const b = await start(space);
  await a.store.set("first", sessionOf({ user: "ada", n: 1 }));
  await b.store.set("second", sessionOf({ user: "ada", n: 2 }));
  await a.store.set("other", sessionOf({ user: "bob" }));
  await a.store.set("nobody", sessionOf({}));
  await a.store.set("third", sessionOf({ user: "ada", n: 3 }));
  await a.store.set("first", sessionOf({ user: "ada", n: 4 }));
  for (const { store } of [a, b]) {
    const found = await store.sessionsOf("ada");
    expect(found.map(({ sid, session }) => [sid, valuesOf(session)])).toEqual([
      ["third", { user: "ada", n: 3 }],
      ["second", { user: "ada", n: 2 }],
      ["first", { user: "ada", n: 4 }],
    ]);
    expect(await store.countOf("ada")).toBe(3);
    expect(await sidsOf(store, "bob")).toEqual(["other"]);
    expect(await store.countOf("nobody")).toBe(0);
  }
});

test("who logs in is found from then on, and who logs out is not", async () => {
  const space = newSpace();
  const { store } = await start(space);
  await store.set("s", sessionOf({ basket: [] }));
  const request = (await loadAsRequest(store, "s")) as SessionData & { user?: string };
  request.user = "ada";
  await store.set("s", request);
  expect(await sidsOf(store, "ada")).toEqual(["s"]);
  request.user = "bob";
  await store.set("s", request);
  expect(await sidsOf(store, "ada")).toEqual([]);
  expect(await sidsOf(store, "bob")).toEqual(["s"]);
  delete request.user;
  await store.set("s", request);
  expect(await store.countOf("bob")).toBe(0);
  // Nothing is left behind in Redis either.
  expect(await indexKeys(space)).toEqual([]);
});

test("a logout that sets the user to null, as in express-session's README, removes the session from the index", async () => {
  const space = newSpace();
  const { store } = await start(space);
  const app = await startApp(store, {}, (server) => {
    server.get("/login", (request, response) => {
      request.session["user"] = "ada";
      response.json({});
    });
    server.get("/logout", (request, response, next) => {
      request.session["user"] = null as never;
      request.session.save((error) => {
        if (error) return next(error);
        request.session.regenerate((failure) => (failure ? next(failure) : response.json({})));
      });
    });
    server.get("/forget", (request, response) => {
      request.session["user"] = null as never;
      response.json({});
    });
  });
  for (const path of ["/logout", "/forget"]) {
    const browser = new Browser();
    await browser.fetch(app, "/login");
    expect(await store.countOf("ada")).toBe(1);
    expect((await browser.fetch(app, path)).status).toBe(200);
    expect(await indexKeys(space)).toEqual([]);
  }
  expect(await store.reindex()).toMatchObject({ indexed: 0, skipped: 0 });
});

test("a user that JSON drops is an error of the save, since nobody would find the session", async () => {
  class User {
    readonly _id: string;
    constructor(id: string) {
      this._id = id;
    }
    get id() {
      return this._id;
    }
  }
  const byGetter = (session: SessionData) => (session as { user?: Partial<User> }).user?.id;
  const byId = (session: SessionData) => (session as { user?: Partial<User> }).user?._id;
  const space = newSpace();
  const { store } = await start(space, { indexBy: byGetter });
  await expect(store.set("s", sessionOf({ user: new User("ada") }))).rejects.toThrow(
    "indexBy: the function must return the same for a session and for its JSON, got two values",
  );
  expect(await store.get("s")).toBeNull();
  const other = await start(space, { indexBy: byId });
  await other.store.set("s", sessionOf({ user: new User("ada") }));
  expect(await sidsOf(other.store, "ada")).toEqual(["s"]);
});

test("an indexBy that throws for the JSON of a session is an error of the save that says so", async () => {
  const byDay = (session: SessionData) => (session as { day?: Date }).day?.toISOString();
  const { store } = await start(newSpace(), { indexBy: byDay });
  await expect(store.set("s", sessionOf({ day: new Date() }))).rejects.toThrow(
    "indexBy: the function must return the same for a session and for its JSON, got an error for the JSON",
  );
  expect(await store.get("s")).toBeNull();
});

test("a user that only JSON shows is an error of the save, since the index would not name the session", async () => {
  class User {
    readonly #id: string;
    constructor(id: string) {
      this.#id = id;
    }
    toJSON() {
      return { id: this.#id };
    }
  }
  const byId = (session: SessionData) => (session as { user?: { id?: string } }).user?.id;
  const { store } = await start(newSpace(), { indexBy: byId });
  await expect(store.set("s", sessionOf({ user: new User("ada") }))).rejects.toThrow("got two values");
  expect(await store.get("s")).toBeNull();
});

test("sessions that were destroyed, or have expired, are not found, and nothing of them is left", async () => {
  const space = newSpace();
  const { store } = await start(space);
  await store.set("destroyed", sessionOf({ user: "ada" }));
  await store.set("expired", sessionOf({ user: "ada" }, 50));
  await store.set("forgotten", sessionOf({ user: "ada" }));
  await store.set("alive", sessionOf({ user: "ada" }));
  await store.destroy("destroyed");
  // The store does not know whose it is, and so leaves a note of it behind.
  store.evictFromCache("forgotten");
  await store.destroy("forgotten");
  await eventually(async () => (await store.get("expired")) === null);
  expect(await sidsOf(store, "ada")).toEqual(["alive"]);
  expect(await store.countOf("ada")).toBe(1);
  await store.destroy("alive");
  expect(await store.countOf("ada")).toBe(0);
});

test("a write, its index entry and its message are one script: one round trip", async () => {
  const space = newSpace();
  const { store } = await start(space);
  const commands = await watchCommands(space);
  await store.set("s", sessionOf({ user: "ada" }));
  await eventually(() => commands.includes("PUBLISH"));
  // The index entry comes first: were the script to fail after it, no session would be missing from the index.
  const names = commands.filter((name) => ["MULTI", "SET", "EVALSHA", "ZADD", "PUBLISH"].includes(name));
  expect(names).toEqual(["EVALSHA", "ZADD", "ZADD", "SET", "PUBLISH"]);
});

test("without indexBy nothing of it is sent, and its methods say what they need", async () => {
  const space = newSpace();
  const { store } = await startNode(space);
  const commands = await watchCommands(space);
  await store.set("s", sessionOf({ user: "ada" }));
  await eventually(() => commands.includes("PUBLISH"));
  expect(commands).toEqual(["SET", "PUBLISH"]);
  const needed = "indexBy: expected a function of the session, which this method needs, got undefined";
  await expect(store.sessionsOf("ada")).rejects.toThrow(needed);
  await expect(store.countOf("ada")).rejects.toThrow(needed);
  await expect(store.destroyAllOf("ada")).rejects.toThrow(needed);
  await expect(store.reindex()).rejects.toThrow(needed);
});

test("destroyAllOf deletes them on every node, but for the one that is to stay", async () => {
  const space = newSpace();
  const nodes = [await start(space), await start(space), await start(space)] as const;
  const [a, b, c] = nodes;
  for (let i = 0; i < 30; i++) await a.store.set(`s${i}`, sessionOf({ user: "ada" }));
  await a.store.set("bob", sessionOf({ user: "bob" }));
  for (const { store } of nodes) for (let i = 0; i < 30; i++) await cacheIn(store, `s${i}`);
  const heard = Promise.all([nextEvent(b.store, "invalidate"), nextEvent(c.store, "invalidate")]);
  expect(await a.store.destroyAllOf("ada", { except: "s7" })).toBe(29);
  await heard;
  for (const { store } of nodes) {
    for (let i = 0; i < 30; i++) expect((await store.get(`s${i}`)) === null).toBe(i !== 7);
    expect(await store.get("bob")).not.toBeNull();
    expect(await sidsOf(store, "ada")).toEqual(["s7"]);
  }
  expect(await b.store.destroyAllOf("ada")).toBe(1);
  expect(await b.store.destroyAllOf("ada")).toBe(0);
  expect(await b.store.destroyAllOf("whoever")).toBe(0);
});

test("a request that is running meanwhile restores none", async () => {
  const space = newSpace();
  const a = await start(space);
  const b = await start(space);
  await a.store.set("s", sessionOf({ user: "ada" }));
  const request = (await loadAsRequest(b.store, "s")) as SessionData & { visits?: number };
  expect(await a.store.destroyAllOf("ada")).toBe(1);
  request.visits = 1;
  await b.store.set("s", request);
  await b.store.touch("s", request);
  expect(await b.store.get("s")).toBeNull();
  expect(await a.store.countOf("ada")).toBe(0);
});

test("a session that is only touched stays found as long as it lives", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space, { touchAfterMs: 0 });
  await store.set("s", sessionOf({ user: "ada" }, 60_000));
  await store.touch("s", sessionOf({ user: "ada" }, 86_400_000));
  const left = await direct.pTTL(`${space.prefix}s`);
  const keys = await indexKeys(space);
  expect(keys).toHaveLength(2);
  for (const key of keys) expect(await direct.pTTL(key)).toBeGreaterThanOrEqual(left);
  const ends = keys.find((key) => key.endsWith(":ends")) as string;
  expect(Number(await direct.zScore(ends, "s"))).toBeGreaterThanOrEqual(Date.now() + left - 1_000);
});

test("a session without expiry is found without expiry", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space, { disableTTL: true });
  await store.set("s", sessionOf({ user: "ada" }, null));
  for (const key of await indexKeys(space)) expect(await direct.pTTL(key)).toBe(-1);
  expect(await sidsOf(store, "ada")).toEqual(["s"]);
});

test("saves that are merged are found by what they were merged to", async () => {
  const space = newSpace();
  const { store } = await start(space, { onConflict: "merge" });
  await store.set("s", sessionOf({ views: 0 }));
  const login = (await loadAsRequest(store, "s")) as SessionData & { user?: string };
  const view = (await loadAsRequest(store, "s")) as SessionData & { views?: number };
  login.user = "ada";
  view.views = 1;
  await store.set("s", login);
  await store.set("s", view);
  const found = await store.sessionsOf("ada");
  expect(found.map(({ session }) => valuesOf(session))).toEqual([{ user: "ada", views: 1 }]);
});

test("after clear nothing is found", async () => {
  const space = newSpace();
  const { store } = await start(space);
  for (let i = 0; i < 5; i++) await store.set(`s${i}`, sessionOf({ user: "ada" }));
  await store.clear();
  expect(await store.countOf("ada")).toBe(0);
  expect(await store.length()).toBe(0);
});

test("keys of the index are no sessions: all, ids, length and destroyWhere ignore them", async () => {
  const space = newSpace();
  const { store } = await start(space);
  await store.set("s", sessionOf({ user: "ada" }));
  expect(await store.ids()).toEqual(["s"]);
  expect(await store.length()).toBe(1);
  expect(await store.destroyWhere(() => true)).toBe(1);
});

test("values may hold anything: braces, spaces, colons, other scripts", async () => {
  const { store } = await start(newSpace());
  for (const user of ["}", "a b", "{x}:y", "ünï", "*"]) {
    await store.set(`of ${user}`, sessionOf({ user }));
    expect(await sidsOf(store, user)).toEqual([`of ${user}`]);
  }
});

test("reindex adds what was written before, and reports its progress", async () => {
  const space = newSpace();
  const before = await startNode(space);
  for (let i = 0; i < 120; i++) {
    await before.store.set(`s${i}`, sessionOf(i % 3 === 0 ? {} : { user: `u${i % 3}` }));
  }
  const { store } = await start(space, { scanCount: 10 });
  expect(await store.countOf("u1")).toBe(0);
  const seen: number[] = [];
  const done = await store.reindex({ onProgress: ({ scanned }) => seen.push(scanned) });
  expect(done.cursor).toBeUndefined();
  expect(done.scanned).toBeGreaterThanOrEqual(120);
  expect(done.indexed).toBeGreaterThanOrEqual(80);
  expect(seen.length).toBeGreaterThan(1);
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  expect(await store.countOf("u1")).toBe(40);
  expect(await store.countOf("u2")).toBe(40);
});

test("a session that reindex has added is new since then, however often it runs, and older than a later login", async () => {
  const space = newSpace();
  const before = await startNode(space);
  await before.store.set("s", sessionOf({ user: "ann" }));
  const direct = await directClient();
  const serverTime = async () => {
    const [seconds, microseconds] = await direct.sendCommand<string[]>(["TIME"]);
    return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
  };
  const startedAt = await serverTime();
  const { store } = await start(space);
  await store.reindex();
  const [added] = await store.sessionsOf("ann");
  expect(added?.since.getTime()).toBeGreaterThanOrEqual(startedAt);
  // Two logins of one millisecond have no order.
  await eventually(async () => (await serverTime()) > (added?.since.getTime() ?? 0));
  await store.set("login", sessionOf({ user: "ann" }));
  await store.reindex();
  expect((await store.sessionsOf("ann")).map(({ sid }) => sid)).toEqual(["login", "s"]);
  expect((await store.sessionsOf("ann")).at(-1)?.since).toEqual(added?.since);
});

test("reindex awaits onProgress, and fails with what it rejects with", async () => {
  const space = newSpace();
  const before = await startNode(space);
  for (let i = 0; i < 30; i++) await before.store.set(`s${i}`, sessionOf({ user: "ann" }));
  const { store } = await start(space, { scanCount: 10 });
  let writing = 0;
  const onProgress = async () => {
    writing++;
    await new Promise((resolve) => setImmediate(resolve));
    if (--writing > 0) throw new Error("called before it had written");
  };
  await store.reindex({ onProgress });
  expect(writing).toBe(0);
  const failing = async () => {
    throw new Error("the database is full");
  };
  await expect(store.reindex({ onProgress: failing })).rejects.toThrow("the database is full");
});

test("reindex continues where it was interrupted", async () => {
  const space = newSpace();
  const before = await startNode(space);
  for (let i = 0; i < 60; i++) await before.store.set(`s${i}`, sessionOf({ user: "ada" }));
  const { store } = await start(space, { scanCount: 10 });
  let cursor: string | undefined;
  const enough = new Error("enough");
  const broken = store.reindex({
    onProgress: (progress) => {
      cursor = progress.cursor;
      if (progress.scanned >= 20) throw enough;
    },
  });
  await expect(broken).rejects.toBe(enough);
  const half = await store.countOf("ada");
  expect(half).toBeGreaterThanOrEqual(20);
  expect(half).toBeLessThan(60);
  const rest = await store.reindex({ cursor });
  expect(rest.cursor).toBeUndefined();
  expect(rest.scanned).toBeLessThan(60);
  expect(await store.countOf("ada")).toBe(60);
});

test("wrong values and cursors are named", async () => {
  const { store } = await start(newSpace());
  await expect(store.sessionsOf("")).rejects.toThrow(
    'expected a string that is not empty, as indexBy returns it, got ""',
  );
  await expect(store.countOf(7 as unknown as string)).rejects.toThrow("got 7: convert it with String()");
  await expect(store.reindex({ cursor: "x" })).rejects.toThrow(
    'cursor: expected one that an earlier run on the same Redis returned, got "x"',
  );
  await expect(store.set("s", sessionOf({ user: 42 }))).rejects.toThrow(
    "indexBy: the function must return a string that is not empty, or undefined, got 42: convert it with ?.toString()",
  );
  expect(await store.get("s")).toBeNull();
});

test("a prefix that the index's keys begin with is rejected", async () => {
  const client = await directClient();
  for (const prefix of ["", "idx:", "idx:{"]) {
    expect(() => new ClusteredRedisStore({ client, prefix, indexBy, cluster: false })).toThrow(
      `prefix: expected one that no index key of indexBy ("idx:{…") begins with, got "${prefix}"`,
    );
  }
});

test("a session that cannot be parsed is skipped, and reported", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await start(space);
  await store.set("s", sessionOf({ user: "ada" }));
  await store.set("broken", sessionOf({ user: "ada" }));
  await direct.set(`${space.prefix}broken`, "{", { expiration: { type: "PX", value: 60_000 } });
  const told = nextEvent(store, "clusterError");
  expect(await sidsOf(store, "ada")).toEqual(["s"]);
  await told;
});

test("whatever two nodes do, exactly the existing sessions are found", async () => {
  const space = newSpace();
  const nodes = [await start(space, { touchAfterMs: 0 }), await start(space, { touchAfterMs: 0 })] as const;
  const users = ["ada", "bob", "cyd"];
  let seed = 20_261_123;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return Math.floor((seed / 0x80000000) * below);
  };
  const act = async (node: number) => {
    const { store } = nodes[node % 2] as (typeof nodes)[0];
    const sid = `s${random(20)}`;
    const user = users[random(4)] as string;
    const what = random(10);
    if (what < 3) await store.set(sid, sessionOf({ user }));
    else if (what < 7 && (await store.get(sid)) !== null) {
      const request = (await loadAsRequest(store, sid).catch(() => undefined)) as
        | (SessionData & { user?: string | undefined; n?: number })
        | undefined;
      if (request === undefined) return;
      request.user = user;
      request.n = random(1_000_000);
      await store.set(sid, request);
    } else if (what === 7) await store.touch(sid, sessionOf({ user }));
    else if (what === 8) await store.destroy(sid);
    else if (random(10) === 0) await store.destroyAllOf(user ?? "ada");
  };
  for (let round = 0; round < 60; round++) await Promise.all([0, 1, 2, 3].map(act));
  const direct = await directClient();
  const there = new Map<string, string[]>(users.map((user) => [user, []]));
  for (const key of await direct.keys(`${space.prefix}*`)) {
    const { user } = JSON.parse(String(await direct.get(key)));
    there.get(user)?.push(key.slice(space.prefix.length));
  }
  for (const [user, sids] of there) {
    for (const { store } of nodes) expect((await sidsOf(store, user)).toSorted()).toEqual(sids.toSorted());
  }
});
