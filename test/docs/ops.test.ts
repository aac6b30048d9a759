import { createHash } from "node:crypto";
import type { SessionData } from "express-session";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { spawnExample } from "../support/example-process.ts";
import { type Client, cacheIn, sessionOf, whenLive } from "../support/node.ts";
import { freePort } from "../support/redis/free-port.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

/** The script keeps to the default prefix, as its reader's application does: so it gets its own server. */
let redis: RedisServer;
let client: Client;
let store: ClusteredRedisStore;

const DAY_MS = 86_400_000;

beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

beforeEach(async () => {
  client = createClient({ url: redis.url }) as unknown as Client;
  client.on("error", () => {});
  await client.connect();
  await client.flushAll();
  const indexBy = (session: SessionData) => session["userId"] as string | undefined;
  // The script takes seconds on a busy machine, and what is cached until then is to be invalidated.
  store = new ClusteredRedisStore({ client, indexBy, cluster: { leaseMs: 120_000 } });
  await whenLive(store);
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  for (const sid of ["a1", "a2", "a3"])
    await store.set(sid, sessionOf({ userId: "ada", secret: "basket" }, 30 * DAY_MS));
  await store.set("b1", sessionOf({ userId: "bob" }, 30 * DAY_MS));
  // Last used ten days ago.
  await client.pExpire("sess:a1", 20 * DAY_MS);
  await client.pExpire("sess:b1", 20 * DAY_MS);
});

async function run(...args: string[]): Promise<{ code: number | null; output: string }> {
  const { ended, output } = spawnExample("ops/sessions.mjs", { REDIS_URL: redis.url }, {}, args);
  const { code } = await ended;
  for (const sid of ["a1", "a2", "a3", "b1"]) expect(output()).not.toMatch(new RegExp(`\\b${sid}\\b`));
  return { code, output: output().trim() };
}

/** What it prints with --json. */
async function json(...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, output } = await run(...args, "--json");
  expect([code, output]).toEqual([0, expect.any(String)]);
  return output === "" ? [] : output.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
}

const publicIdOf = (sid: string) => createHash("sha256").update(sid).digest("hex").slice(0, 16);
const idsIn = (rows: Record<string, unknown>[]) => rows.map(({ publicId }) => publicId);

test("lists and counts: all, a user's, and what has not been used for long", async () => {
  expect(idsIn(await json("list")).sort()).toEqual(["a1", "a2", "a3", "b1"].map(publicIdOf).sort());
  expect(idsIn(await json("list", "--user", "ada"))).toEqual(["a3", "a2", "a1"].map(publicIdOf));
  expect(idsIn(await json("list", "--idle", "9d")).sort()).toEqual(["a1", "b1"].map(publicIdOf).sort());
  expect(idsIn(await json("list", "--user", "ada", "--idle", "9d"))).toEqual([publicIdOf("a1")]);
  expect(idsIn(await json("list", "--idle", "11d"))).toEqual([]);
  expect(await json("count")).toEqual([{ count: 4 }]);
  expect(await json("count", "--user", "ada")).toEqual([{ count: 3 }]);
  expect(await json("count", "--idle", "216h")).toEqual([{ count: 2 }]);
});

test("shows one, by its public id, as text or as JSON", async () => {
  const [shown] = await json("show", "--public-id", publicIdOf("a2"));
  expect(shown).toMatchObject({ publicId: publicIdOf("a2"), session: { userId: "ada", secret: "basket" } });
  expect(await json("show", "--user", "ada", "--public-id", publicIdOf("a2"))).toMatchObject([
    { since: expect.any(String) },
  ]);
  const { output } = await run("show", "--public-id", publicIdOf("a2"));
  expect(output).toMatch(
    /^publicId [\da-f]{16} {2}session \{.*"userId":"ada".*lastActiveAt \d{4}-\d\d-\d\dT/,
  );
  expect(await run("show", "--public-id", "0000")).toEqual({ code: 1, output: "there is no such session" });
});

test("ends by user, by public id and by age; the caches of the application know at once", async () => {
  await cacheIn(store, "a2");
  const [sid] = await Promise.all([
    nextEvent(store, "invalidate").then(([first]) => first),
    json("end", "--user", "ada", "--public-id", publicIdOf("a2")).then((rows) =>
      expect(rows).toEqual([{ ended: 1 }]),
    ),
  ]);
  expect(sid).toBe("a2");
  expect(await store.get("a2")).toBeNull();
  expect(await json("end", "--idle", "9d")).toEqual([{ ended: 2 }]);
  await eventually(async () => (await store.get("b1")) === null);
  expect(await json("end", "--public-id", publicIdOf("b1"))).toEqual([{ ended: 0 }]);
  expect(await json("end", "--user", "ada")).toEqual([{ ended: 1 }]);
  await store.set("b1", sessionOf({ userId: "bob" }));
  expect(await json("end", "--all")).toEqual([{ ended: 1 }]);
  expect(await store.length()).toBe(0);
});

test("shows how far a search of all sessions has come", async () => {
  for (let i = 0; i < 150; i++) await store.set(`more-${i}`, sessionOf({}));
  const { code, output } = await run("count", "--idle", "9d", "--progress");
  expect(code).toBe(0);
  expect(output).toMatch(/^\[\.{30}\] 0 % {2}0 of about 154/);
  expect(output).toMatch(/\r\[#{19,20}\.+\] 64 % {2}100 of about 154/);
  expect(output).toMatch(/\r\[#{30}\] 100 % {2}154 of about 154\n/);
  expect(output).toContain("count 2");
});

test("a session that cannot be read is reported below the bar, counted, and ended with --all", async () => {
  await client.set("sess:torn", "{");
  const { code, output } = await run("count", "--idle", "9d", "--progress");
  expect(code).toBe(0);
  expect(output).toMatch(
    /(^|[\r\n])The value of session [\da-f]{16} in Redis is not a session: invalid JSON/,
  );
  expect(output).toMatch(/\[#{30}\] 100 % {2}4 of about 5\n/);
  expect(await json("count")).toEqual([{ count: 5 }]);
  expect(await json("end", "--all")).toEqual([{ ended: 5 }]);
  expect(await client.keys("sess:*")).toEqual([]);
});

test("without Redis it says so, and ends", async () => {
  const { ended, output } = spawnExample(
    "ops/sessions.mjs",
    { REDIS_URL: `redis://127.0.0.1:${await freePort()}` },
    {},
    ["count"],
  );
  expect((await ended).code).toBe(1);
  expect(output()).toMatch(/^connect ECONNREFUSED 127\.0\.0\.1:\d+\n$/);
});

test.each([
  [[], "node sessions.mjs <command>"],
  [["list", "--idle", "long"], "node sessions.mjs <command>"],
  [["list", "--usr", "ada"], "Unknown option '--usr'"],
  [["end"], "end needs a filter, or --all"],
])("%j changes nothing, and says what is wrong", async (args, message) => {
  const { code, output } = await run(...args);
  expect(code).toBe(1);
  expect(output).toContain(message);
  expect(await store.length()).toBe(4);
});
