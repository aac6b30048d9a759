import { createHash, randomBytes } from "node:crypto";
import type { SessionData } from "express-session";
import { describe, expect, test } from "vitest";
import { encrypted } from "../../lib/codecs.ts";
import type { IndexBy, UserSession } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import {
  cacheIn,
  directClient,
  loadAsRequest,
  newSpace,
  type Space,
  sessionOf,
  startNode,
  watchCommands,
} from "../support/node.ts";

const indexBy: IndexBy = (session) => (session as SessionData & { user?: string }).user;
const start = (space: Space, options = {}) => startNode(space, { store: { indexBy, ...options } });
const HOUR_MS = 3_600_000;

const sids = (found: readonly UserSession[]) => found.map(({ sid }) => sid);

/** A number of sessions of "ada", the last one the newest. */
async function logIn(store: { set(sid: string, session: SessionData): Promise<void> }, count: number) {
  for (let i = 0; i < count; i++) await store.set(`s${i}`, sessionOf({ user: "ada" }, HOUR_MS));
}

describe("what sessionsOf and sessions() say of a session", () => {
  test("publicId is the hash that errors and traces contain, and not the id", async () => {
    const { store } = await start(newSpace());
    await store.set("secret", sessionOf({ user: "ada" }));
    const hash = createHash("sha256").update("secret").digest("hex").slice(0, 16);
    expect(await store.sessionsOf("ada")).toMatchObject([{ sid: "secret", publicId: hash }]);
    for await (const { publicId } of store.sessions()) expect(publicId).toBe(hash);
  });

  test("since is the login, and stays; lastActiveAt and expiresAt follow the touches, without a write", async () => {
    const space = newSpace();
    const { store } = await start(space, { touchAfterMs: 0 });
    const direct = await directClient();
    const before = Date.now();
    await store.set("s", sessionOf({ user: "ada" }, HOUR_MS));
    const [login] = await store.sessionsOf("ada");
    const after = Date.now();
    expect(login?.since.getTime()).toBeGreaterThanOrEqual(before);
    expect(login?.since.getTime()).toBeLessThanOrEqual(after);
    // As if the touches of the last quarter of an hour had not been.
    await direct.pExpire(`${space.prefix}s`, HOUR_MS - 900_000);
    const looked = Date.now();
    const [idle] = await store.sessionsOf("ada");
    expect(idle?.since).toEqual(login?.since);
    expect(Math.abs(looked - 900_000 - Number(idle?.lastActiveAt))).toBeLessThan(60_000);
    expect(Number(idle?.expiresAt) - Number(idle?.lastActiveAt)).toBe(HOUR_MS);
    store.evictFromCache("s");
    const request = await loadAsRequest(store, "s");
    request.cookie.maxAge = HOUR_MS;
    await store.touch("s", request);
    const [active] = await store.sessionsOf("ada");
    expect(active?.since).toEqual(login?.since);
    expect(Number(active?.lastActiveAt)).toBeGreaterThanOrEqual(looked - 1_000);
    for await (const each of store.sessions()) {
      expect(Math.abs(Number(each.lastActiveAt) - Number(active?.lastActiveAt))).toBeLessThan(60_000);
      expect(each).not.toHaveProperty("since");
    }
  });

  test("sessions without a maxAge go by the ttl, and what never expires has no times", async () => {
    for (const [options, idleMs] of [
      [{ ttl: 7_200 }, 2 * HOUR_MS],
      [{ ttl: () => 1_800 }, HOUR_MS / 2],
      [{ disableTTL: true }, undefined],
    ] as const) {
      const { store } = await start(newSpace(), options);
      await store.set("s", sessionOf({ user: "ada" }, null));
      const [found] = await store.sessionsOf("ada");
      if (idleMs === undefined)
        expect(found).toMatchObject({ lastActiveAt: undefined, expiresAt: undefined });
      else expect(Number(found?.expiresAt) - Number(found?.lastActiveAt)).toBeGreaterThanOrEqual(idleMs - 1);
      expect(found?.since).toBeInstanceOf(Date);
    }
  });

  test("a ttl function that throws does not hide a session", async () => {
    let isBroken = false;
    const ttl = () => {
      if (isBroken) throw new Error("no");
      return 60;
    };
    const { store } = await start(newSpace(), { ttl });
    await store.set("s", sessionOf({ user: "ada" }));
    isBroken = true;
    expect(await store.sessionsOf("ada")).toMatchObject([{ sid: "s", lastActiveAt: undefined }]);
  });
});

describe("destroyOf", () => {
  test("ends a user's session everywhere, by its public id, and nobody else's", async () => {
    const space = newSpace();
    const [a, b] = [await start(space), await start(space)];
    await logIn(a.store, 3);
    await a.store.set("bob", sessionOf({ user: "bob" }));
    const [bob] = await a.store.sessionsOf("bob");
    expect(await a.store.destroyOf("ada", bob?.publicId ?? "")).toBe(false);
    expect(await a.store.destroyOf("ada", "0123456789abcdef")).toBe(false);
    expect(await a.store.destroyOf("nobody", bob?.publicId ?? "")).toBe(false);
    await cacheIn(b.store, "s1");
    const [, second] = await a.store.sessionsOf("ada");
    const [invalidated, destroyed] = [nextEvent(b.store, "invalidate"), nextEvent(b.store, "destroyed")];
    expect(await a.store.destroyOf("ada", second?.publicId ?? "")).toBe(true);
    await invalidated;
    expect(await destroyed).toEqual(["s1", a.store.clusterStats.nodeId, "destroyOf"]);
    expect(await b.store.get("s1")).toBeNull();
    expect(sids(await b.store.sessionsOf("ada"))).toEqual(["s2", "s0"]);
    expect(await b.store.destroyOf("ada", second?.publicId ?? "")).toBe(false);
    expect(await b.store.countOf("bob")).toBe(1);
  });

  test("a session that has passed to somebody else is not ended", async () => {
    const space = newSpace();
    const { store } = await start(space, { localCache: false });
    await store.set("s", sessionOf({ user: "ada" }));
    const [found] = await store.sessionsOf("ada");
    await store.set("s", sessionOf({ user: "bob" }));
    expect(await store.destroyOf("ada", found?.publicId ?? "")).toBe(false);
    expect(await store.countOf("bob")).toBe(1);
  });
});

describe("keepNewest", () => {
  test("the newest stay, and the request's own among them", async () => {
    const space = newSpace();
    const { store } = await start(space);
    const left = async (options: object) => {
      await logIn(store, 6);
      await store.destroyAllOf("ada", options);
      const found = sids(await store.sessionsOf("ada"));
      await store.destroyAllOf("ada");
      return found;
    };
    expect(await left({ keepNewest: 3 })).toEqual(["s5", "s4", "s3"]);
    expect(await left({ keepNewest: 3, except: "s4" })).toEqual(["s5", "s4", "s3"]);
    expect(await left({ keepNewest: 3, except: "s0" })).toEqual(["s5", "s4", "s0"]);
    expect(await left({ keepNewest: 1, except: "s0" })).toEqual(["s0"]);
    expect(await left({ keepNewest: 0, except: "s0" })).toEqual(["s0"]);
    expect(await left({ keepNewest: 0 })).toEqual([]);
    expect(await left({ keepNewest: 2, except: null })).toEqual(["s5", "s4"]);
    expect(await left({ keepNewest: 9 })).toEqual(["s5", "s4", "s3", "s2", "s1", "s0"]);
    // It is nobody's, or somebody else's: it takes no place.
    await store.set("bob", sessionOf({ user: "bob" }));
    expect(await left({ keepNewest: 2, except: "bob" })).toEqual(["s5", "s4"]);
    expect(await left({ keepNewest: 2, except: "gone" })).toEqual(["s5", "s4"]);
    expect(await store.countOf("bob")).toBe(1);
  });

  test("at most three devices: whoever logs in once more ends the oldest", async () => {
    const space = newSpace();
    const { store } = await start(space);
    const app = await startApp(store, {}, (server) => {
      server.get("/login", (request, response, next) => {
        request.session.user = "ada";
        request.session.save(async (error) => {
          if (error) return next(error);
          const ended = await store.destroyAllOf("ada", { keepNewest: 3, except: request.sessionID });
          response.json({ ended });
        });
      });
      server.get("/me", (request, response) => void response.json({ user: request.session.user ?? null }));
    });
    const browsers = Array.from({ length: 5 }, () => new Browser());
    const ended: unknown[] = [];
    for (const browser of browsers) ended.push((await browser.fetch(app, "/login")).body);
    expect(ended).toEqual([{ ended: 0 }, { ended: 0 }, { ended: 0 }, { ended: 1 }, { ended: 1 }]);
    const users = await Promise.all(browsers.map(async (browser) => (await browser.fetch(app, "/me")).body));
    expect(users).toEqual([{ user: null }, { user: null }, ...Array(3).fill({ user: "ada" })]);
  });
});

describe("a user with thousands of sessions", () => {
  const COUNT = 2_500;

  async function crowd(space: Space) {
    const { store } = await start(space, { localCache: false, commandTimeoutMs: 60_000 });
    const all = Array.from({ length: COUNT }, (_, i) =>
      store.set(`s${i}`, sessionOf({ user: "ada" }, HOUR_MS)),
    );
    await Promise.all(all);
    return store;
  }

  test("countOf reads none of them", async () => {
    const space = newSpace();
    const store = await crowd(space);
    const commands = await watchCommands(space);
    expect(await store.countOf("ada")).toBe(COUNT);
    await eventually(() => commands.filter((name) => name === "PTTL").length === COUNT);
    expect(commands).not.toContain("GETRANGE");
    expect(commands).not.toContain("GET");
    // Without a cache nobody knows whose these were, and so their entries stay until somebody looks.
    for (const sid of ["s1", "s2"]) await store.destroy(sid);
    const direct = await directClient();
    expect(await direct.zCard(`idx:{${space.prefix}ada}:${space.prefix.length}:ends`)).toBe(COUNT);
    expect(await store.countOf("ada")).toBe(COUNT - 2);
    expect(await direct.zCard(`idx:{${space.prefix}ada}:${space.prefix.length}:ends`)).toBe(COUNT - 2);
  });

  test("eachSessionOf reads them in batches, as they are asked for", async () => {
    const space = newSpace();
    const store = await crowd(space);
    const commands = await watchCommands(space);
    for await (const { session } of store.eachSessionOf("ada")) {
      expect(session).toMatchObject({ user: "ada" });
      break;
    }
    const direct = await directClient();
    await direct.set(`${space.prefix}mark`, "");
    await eventually(() => commands.includes("SET"));
    await direct.del(`${space.prefix}mark`);
    expect(commands.filter((name) => name === "GETRANGE").length).toBe(1_000);
    const found = new Set<string>();
    for await (const { sid } of store.eachSessionOf("ada")) found.add(sid);
    expect(found.size).toBe(COUNT);
    expect(await store.destroyAllOf("ada", { keepNewest: 1_200 })).toBe(COUNT - 1_200);
    expect(await store.countOf("ada")).toBe(1_200);
  });
});

test("sessions that this process cannot decode are ended, too: another one may still have the key", async () => {
  const space = newSpace();
  const key = () => ({ id: randomBytes(4).toString("hex"), key: randomBytes(32) });
  const [old, current] = [key(), key()];
  const before = await start(space, { codec: encrypted({ keys: [old] }) });
  const now = await start(space, { codec: encrypted({ keys: [current] }), onCorrupt: "none" });
  await logIn(before.store, 3);
  await now.store.set("new", sessionOf({ user: "ada" }));
  const reported = nextEvent(now.store, "clusterError");
  const [newest] = await before.store.sessionsOf("ada");
  expect(newest?.sid).toBe("s2");
  expect(sids(await now.store.sessionsOf("ada"))).toEqual(["new"]);
  await reported;
  expect(await now.store.destroyOf("ada", newest?.publicId ?? "")).toBe(true);
  await eventually(async () => (await before.store.get("s2")) === null);
  expect(await now.store.destroyAllOf("ada", { except: "new" })).toBe(2);
  for (const sid of ["s0", "s1"]) await eventually(async () => (await before.store.get(sid)) === null);
  expect(sids(await now.store.sessionsOf("ada"))).toEqual(["new"]);
});

test("wrong arguments are TypeErrors", async () => {
  const { store } = await start(newSpace());
  for (const keepNewest of [-1, 1.5, "3"]) {
    const ending = store.destroyAllOf("ada", { keepNewest: keepNewest as number });
    await expect(ending).rejects.toThrow("keepNewest: expected 0 or a positive whole number, got");
  }
  await store.set("s", sessionOf({ user: "ada" }));
  for (const except of [5, {}, ["s"], ""]) {
    const ending = store.destroyAllOf("ada", { except: except as unknown as string });
    await expect(ending).rejects.toThrow("except: expected a session id, got");
  }
  for (const [options, message] of [
    ["s", "options: expected an object, such as { except: req.sessionID }, got a string"],
    [null, "options: expected an object, such as { except: req.sessionID }, got null"],
    [{ keep: 3 }, "keep: there is no such option; the options are except, keepNewest"],
  ] as const) {
    await expect(store.destroyAllOf("ada", options as never)).rejects.toThrow(new TypeError(message));
  }
  for (const [options, message] of [
    [() => {}, "options: expected an object, such as { onProgress: console.log }, got a function"],
    [{ onprogress() {} }, "onprogress: there is no such option; the options are cursor, onProgress"],
    [{ onProgress: true }, "onProgress: expected a function of the progress, got true"],
  ] as const) {
    await expect(store.reindex(options as never)).rejects.toThrow(new TypeError(message));
  }
  expect(await store.countOf("ada")).toBe(1);
  await expect(store.destroyOf("ada", undefined as unknown as string)).rejects.toThrow(
    new TypeError("publicId: expected a string, got undefined"),
  );
  await expect(store.destroyOf("", "x")).rejects.toThrow("value: expected a string that is not empty");
  await expect(store.eachSessionOf("").next()).rejects.toThrow("value: expected a string that is not empty");
  const plain = await startNode(newSpace());
  expect(() => plain.store.eachSessionOf("ada")).toThrow("indexBy: expected a function of the session");
  await expect(plain.store.destroyOf("ada", "x")).rejects.toThrow(
    "indexBy: expected a function of the session",
  );
});
