import { RedisStore as ConnectRedis9 } from "connect-redis";
import type { Express } from "express";
import { describe, expect, test } from "vitest";
import { RedisStore } from "../../lib/index.ts";
import { Random } from "../consistency/random.ts";
import { ConnectRedis10 } from "../support/connect-redis-10.ts";
import { eventually } from "../support/eventually.ts";
import { Browser, type RunningApp, startApp } from "../support/express-app.ts";
import {
  cacheIn,
  directClient,
  LONG_LEASE,
  loadAsRequest,
  newSpace,
  recordEvents,
  SHORT_LEASE,
  sessionOf,
  startNode,
  valuesOf,
} from "../support/node.ts";

/** What docs/guides/migrating.md says of fleets in which connect-redis and this store work on the same sessions. */

/** Short enough that reads would be behind it. */
const LEASE = { ...SHORT_LEASE, leaseMs: 400 } as const;

/** Each write is numbered, a logout as well. */
function routes(app: Express): void {
  app.get("/in/:n", (request, response, next) => {
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session["n"] = Number(request.params.n);
      response.json({});
    });
  });
  app.get("/save/:n", (request, response) => {
    request.session["n"] = Number(request.params.n);
    response.json({});
  });
  app.get("/out/:n", (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.json({})));
  });
  app.get("/read", (request, response) => response.json({ n: request.session["n"] ?? null }));
}

/** A user who logs in, saves, reads and logs out at random, at either process. */
async function useBoth(
  apps: readonly RunningApp[],
  random: Random,
): Promise<{ reads: number; behind: string[] }> {
  const browser = new Browser();
  const changes: { isIn: boolean; endedAt: number }[] = [{ isIn: false, endedAt: 0 }];
  const behind: string[] = [];
  let reads = 0;
  for (let i = 0; i < 150; i++) {
    const which = random.between(0, apps.length);
    const app = apps[which] as RunningApp;
    const isIn = changes.at(-1)?.isIn === true;
    const does = random.pick({ read: 12, in: isIn ? 0 : 6, save: isIn ? 3 : 0, out: isIn ? 1 : 0 });
    if (does !== "read") {
      const { status } = await browser.fetch(app, `/${does}/${changes.length}`);
      expect(status).toBe(200);
      changes.push({ isIn: does !== "out", endedAt: performance.now() });
      continue;
    }
    const startedAt = performance.now() - (which === 0 ? 0 : LEASE.leaseMs);
    const { n } = (await browser.fetch(app, "/read")).body as { n: number | null };
    reads++;
    const known = changes.findLastIndex(({ endedAt }) => endedAt <= startedAt);
    const isCurrent = n === null ? changes.slice(known).some((one) => !one.isIn) : n >= known;
    if (!isCurrent) behind.push(`process ${which} returned ${n}, and ${known} was known`);
  }
  return { reads, behind };
}

describe.each([
  ["connect-redis 9", ConnectRedis9],
  ["connect-redis 10", ConnectRedis10],
])("%s", (_, ConnectRedis) => {
  async function connectRedis(prefix: string) {
    return new ConnectRedis({ client: await directClient(), prefix });
  }

  test("saves, parse, callbacks and options differ as the guide says", async () => {
    const space = newSpace();
    const direct = await directClient();
    const { store: ours } = await startNode(space);
    const theirs = await connectRedis(`${space.prefix}theirs:`);
    const saved = async (store: typeof ours | typeof theirs, expires: Date) => {
      await store.set("s", sessionOf());
      const cookie = { originalMaxAge: 60_000, expires };
      const outcome = await store.set("s", { cookie } as never).then(
        () => "done",
        (error: Error) => error.name,
      );
      return [outcome, (await store.get("s")) !== null];
    };
    expect(await saved(theirs, new Date(0))).toEqual(["done", false]);
    expect(await saved(ours, new Date(0))).toEqual(["done", true]);
    expect(await saved(theirs, new Date(Number.NaN))).toEqual(["done", false]);
    expect(await saved(ours, new Date(Number.NaN))).toEqual(["TypeError", true]);

    const serializer = { parse: () => null as never, stringify: JSON.stringify };
    expect(await new ConnectRedis({ client: direct, prefix: space.prefix, serializer }).get("s")).toBeNull();
    const [strict, lenient] = [
      await startNode(space, { store: { serializer } }),
      await startNode(space, { store: { serializer, onCorrupt: "none" } }),
    ];
    await expect(strict.store.get("s")).rejects.toMatchObject({ code: "ERR_SESSION_CORRUPT" });
    expect(await lenient.store.get("s")).toBeNull();

    const ttl = "100" as never;
    const withText = new ConnectRedis({ client: direct, prefix: space.prefix, ttl });
    await withText.set("text", sessionOf({}, null));
    expect(await direct.ttl(`${space.prefix}text`)).toBeLessThanOrEqual(100);
    expect(() => new RedisStore({ client: direct, ttl })).toThrow(
      "ttl: expected a positive number of seconds",
    );

    expect(await withText.destroy("text", () => "returned")).toBe("returned");
    expect(ours.destroy("text", () => "returned")).toBeUndefined();
    withText.ttl = 60;
    expect(withText.ttl).toBe(60);
    expect(() => Object.assign(ours, { ttl: 60 })).toThrow(TypeError);
  });

  describe("with localCache: false", () => {
    const options = { store: { localCache: false }, cluster: LONG_LEASE };

    test("each sees what the other writes and deletes, at once", async () => {
      const space = newSpace();
      const theirs = await connectRedis(space.prefix);
      const { store: ours } = await startNode(space, options);
      await theirs.set("s", sessionOf({ v: 1 }));
      expect(valuesOf(await ours.get("s"))).toEqual({ v: 1 });
      await theirs.set("s", sessionOf({ v: 2 }));
      expect(valuesOf(await ours.get("s"))).toEqual({ v: 2 });
      await ours.set("s", sessionOf({ v: 3 }));
      expect(await theirs.get("s")).toMatchObject({ v: 3 });
      await ours.touch("s", sessionOf({ v: 3 }, 600_000));
      await theirs.destroy("s");
      expect(await ours.get("s")).toBeNull();
    });

    test("its writes are published, so that caches can be switched on one after the other", async () => {
      const space = newSpace();
      const { store: off } = await startNode(space, options);
      const { store: on } = await startNode(space, { cluster: LONG_LEASE });
      await off.set("s", sessionOf({ v: 1 }));
      await eventually(async () => (await on.get("s")) !== null && on.cacheStats.size === 1);
      await off.set("s", sessionOf({ v: 2 }));
      await eventually(async () => valuesOf(await on.get("s"))?.["v"] === 2);
      await off.destroy("s");
      await eventually(async () => (await on.get("s")) === null);
    });
  });

  test("with the cache and cluster.tracking: no read over HTTP is behind by more than the lease", async () => {
    const space = newSpace();
    const { store } = await startNode(space, { cluster: { ...LEASE, tracking: true } });
    const stores = [await connectRedis(space.prefix), store];
    const apps = await Promise.all(stores.map((each) => startApp(each, {}, routes)));
    const users = Array.from({ length: 6 }, (_, seed) => useBoth(apps, new Random(seed)));
    const { reads, behind } = (await Promise.all(users)).reduce((sum, user) => ({
      reads: sum.reads + user.reads,
      behind: [...sum.behind, ...user.behind],
    }));
    expect(behind).toEqual([]);
    expect(reads).toBeGreaterThan(200);
    expect(store.cacheStats.hits).toBeGreaterThan(0);
    await eventually(async () => (await store.health()).tracking === true);
  });

  describe("with the cache on too early", () => {
    async function mixed(store: object = {}) {
      const space = newSpace();
      const theirs = await connectRedis(space.prefix);
      const node = await startNode(space, { cluster: LONG_LEASE, store });
      await theirs.set("s", sessionOf({ v: 1 }));
      await cacheIn(node.store, "s");
      return { space, theirs, ours: node.store, direct: await directClient() };
    }

    test("what connect-redis writes and deletes is seen when ttlMs is over", async () => {
      const { theirs, ours } = await mixed({ localCache: { ttlMs: 400 } });
      const events = recordEvents(ours, ["invalidate", "flush"]);
      await theirs.set("s", sessionOf({ v: 2 }));
      await eventually(async () => valuesOf(await ours.get("s"))?.["v"] === 2);
      await theirs.destroy("s");
      await eventually(async () => (await ours.get("s")) === null);
      expect(events).toEqual([]);
    });

    test("until then the old copy is served", async () => {
      const { theirs, ours } = await mixed();
      await theirs.set("s", sessionOf({ v: 2 }));
      expect(valuesOf(await ours.get("s"))).toEqual({ v: 1 });
      await theirs.destroy("s");
      expect(valuesOf(await ours.get("s"))).toEqual({ v: 1 });
    });

    test("a save from an old copy overwrites; with onConflict: merge both changes stay", async () => {
      for (const [onConflict, kept] of [
        ["overwrite", { v: 1, mine: 1 }],
        ["merge", { v: 2, mine: 1 }],
      ] as const) {
        const { theirs, ours, direct, space } = await mixed({ onConflict });
        await theirs.set("s", sessionOf({ v: 2 }));
        const session = await loadAsRequest(ours, "s");
        await ours.set("s", Object.assign(session, { mine: 1 }));
        const { cookie: _, ...values } = JSON.parse((await direct.get(`${space.prefix}s`)) ?? "{}");
        expect(values).toEqual(kept);
      }
    });

    test("a save from the old copy of a deleted session is skipped, and the copy is dropped", async () => {
      const { theirs, ours } = await mixed();
      const events = recordEvents(ours, ["resurrection"]);
      await theirs.destroy("s");
      const session = await loadAsRequest(ours, "s");
      await ours.set("s", Object.assign(session, { mine: 1 }));
      expect(events).toEqual([{ name: "resurrection", args: ["s"] }]);
      expect(await theirs.get("s")).toBeNull();
      expect(await ours.get("s")).toBeNull();
    });

    test("a copy may be served after an expiry that connect-redis has made earlier", async () => {
      const { theirs, ours, direct, space } = await mixed();
      await theirs.touch("s", sessionOf({}, 1));
      await eventually(async () => (await direct.exists(`${space.prefix}s`)) === 0);
      expect(valuesOf(await ours.get("s"))).toEqual({ v: 1 });
    });
  });
});
