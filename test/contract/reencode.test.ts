import { randomBytes } from "node:crypto";
import type { SessionData } from "express-session";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { encrypted } from "../../lib/codecs.ts";
import type { Codec, ReencodeProgress } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import {
  type Client,
  directClient,
  loadAsRequest,
  newSpace,
  type Space,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

/** Not the shared one: while others add and delete keys there, SCAN may return a key twice, and then it is counted twice. */
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

const OLD = { id: "old", key: randomBytes(32) };
const NEW = { id: "new", key: randomBytes(32) };
const before = encrypted({ keys: [OLD] });
const rotated = encrypted({ keys: [NEW, OLD] });
const after = encrypted({ keys: [NEW] });

const start = (space: Space, codec: Codec, options = {}) =>
  startNode(space, { url: redis.url, store: { codec, ...options } });

const valueIn = async (direct: Client, space: Space, sid: string) =>
  String(await direct.get(space.prefix + sid));

test("sessions are handled a thousand at a time, however many a SCAN returns", async () => {
  const space = newSpace();
  const { store } = await start(space, before, { scanCount: 10_000 });
  const sids = Array.from({ length: 1_200 }, (_, i) => `s${i}`);
  for (let i = 0; i < sids.length; i += 100)
    await Promise.all(sids.slice(i, i + 100).map((sid) => store.set(sid, sessionOf())));
  const scanned = [0];
  await store.reencode({ onProgress: (progress) => scanned.push(progress.scanned) });
  expect(scanned.at(-1)).toBe(1_200);
  for (const [i, count] of scanned.slice(1).entries())
    expect(count - (scanned[i] as number)).toBeLessThanOrEqual(1_000);
});

test("every session is encrypted with the first key, keeps its expiry, and the old key is no longer needed", async () => {
  const space = newSpace();
  const direct = await directClient({ url: redis.url });
  const old = await start(space, before);
  for (let i = 0; i < 250; i++) await old.store.set(`s${i}`, sessionOf({ i }, i === 0 ? null : 3_600_000));
  await direct.persist(`${space.prefix}s1`);
  const now = await start(space, rotated);
  const seen: ReencodeProgress[] = [];
  const progress = await now.store.reencode({ onProgress: (each) => seen.push(each) });
  expect(progress).toEqual({ scanned: 250, rewritten: 250, skipped: 0, cursor: undefined });
  expect(seen.length).toBeGreaterThan(1);
  expect(seen.at(-1)).toEqual(progress);
  expect(await direct.pTTL(`${space.prefix}s1`)).toBe(-1);
  expect(await direct.pTTL(`${space.prefix}s2`)).toBeGreaterThan(3_500_000);
  const last = await start(space, after);
  for (let i = 0; i < 250; i++) {
    expect(await valueIn(direct, space, `s${i}`)).toMatch(/^enc:v1:new:/);
    expect(valuesOf(await last.store.get(`s${i}`))).toEqual({ i });
  }
  // Once more does no harm, and what the cache holds is served as before.
  expect(await last.store.reencode()).toMatchObject({ scanned: 250, rewritten: 250 });
  expect(valuesOf(await last.store.get("s7"))).toEqual({ i: 7 });
});

test("sessions in plaintext are encrypted, and with a codec that only decodes they become plaintext again", async () => {
  const space = newSpace();
  const direct = await directClient({ url: redis.url });
  const plain = await startNode(space, { url: redis.url });
  for (let i = 0; i < 20; i++) await plain.store.set(`s${i}`, sessionOf({ i }));
  const migrating = await start(space, encrypted({ keys: [NEW], acceptPlain: true }));
  expect(await migrating.store.reencode()).toMatchObject({ rewritten: 20 });
  const strict = await start(space, after);
  expect(valuesOf(await strict.store.get("s5"))).toEqual({ i: 5 });
  const { decode } = encrypted({ keys: [NEW], acceptPlain: true });
  const back = await start(space, { encode: (text) => text, decode });
  expect(await back.store.reencode()).toMatchObject({ rewritten: 20 });
  expect(await back.store.reencode()).toMatchObject({ scanned: 20, rewritten: 0 });
  expect(JSON.parse(await valueIn(direct, space, "s5"))).toMatchObject({ i: 5 });
});

test("it can be stopped, and resumed where it was", async () => {
  const space = newSpace();
  const direct = await directClient({ url: redis.url });
  const { store } = await start(space, rotated);
  const old = await start(space, before);
  for (let i = 0; i < 500; i++) await old.store.set(`s${i}`, sessionOf({ i }, 3_600_000));
  let cursor: string | undefined;
  const stop = new Error("stopped");
  const stopping = store.reencode({
    onProgress: (progress) => {
      cursor = progress.cursor;
      throw stop;
    },
  });
  await expect(stopping).rejects.toBe(stop);
  expect(cursor).toBeDefined();
  const { scanned } = await store.reencode({ cursor });
  expect(scanned).toBeLessThan(500);
  for (let i = 0; i < 500; i++) expect(await valueIn(direct, space, `s${i}`)).toMatch(/^enc:v1:new:/);
});

/** A codec that does something to Redis between reading a session and writing it again. */
function meddling(codec: Codec, meddle: (sid: string) => void): Codec {
  return {
    encode: codec.encode,
    decode: (value, context) => {
      meddle(context.sid);
      return codec.decode(value, context);
    },
  };
}

describe("what happens while it runs", () => {
  test("a session that is deleted stays deleted", async () => {
    const space = newSpace();
    const direct = await directClient({ url: redis.url });
    const old = await start(space, before);
    for (let i = 0; i < 50; i++) await old.store.set(`s${i}`, sessionOf({ i }));
    const deletions: Promise<unknown>[] = [];
    // The deletion is sent before the value is encoded, and therefore before it would be written.
    const codec = meddling(rotated, (sid) => deletions.push(direct.del(space.prefix + sid)));
    const { store } = await start(space, codec);
    const progress = await store.reencode();
    await Promise.all(deletions);
    expect(deletions.length).toBe(50);
    expect(progress.scanned).toBe(50);
    expect(await store.ids()).toEqual([]);
  });

  test("what is written meanwhile is not lost, and is encrypted anew itself", async () => {
    const space = newSpace();
    const direct = await directClient({ url: redis.url });
    const old = await start(space, before);
    await old.store.set("s", sessionOf({ n: 0 }, null));
    const context = { sid: "s", key: `${space.prefix}s` };
    let writes = 0;
    const codec: Codec = {
      decode: rotated.decode,
      encode: (text, at) => {
        // Sent before the script that would replace the value.
        if (writes < 3) {
          writes++;
          void direct.set(
            context.key,
            before.encode(JSON.stringify(sessionOf({ n: writes }, null)), context),
          );
        }
        return rotated.encode(text, at);
      },
    };
    const { store } = await start(space, codec);
    await eventually(async () => {
      await store.reencode();
      return writes === 3 && (await valueIn(direct, space, "s")).startsWith("enc:v1:new:");
    });
    const reader = await start(space, after);
    expect(valuesOf(await reader.store.get("s"))).toEqual({ n: 3 });
  });

  test("nothing is published, and requests that merge or touch go on as before", async () => {
    const space = newSpace();
    type Session = SessionData & { user?: string; n?: number };
    const indexBy = (session: SessionData) => (session as Session).user;
    const { store } = await start(space, rotated, { onConflict: "merge", indexBy, touchAfterMs: 0 });
    await store.set("s", sessionOf({ user: "ada" }));
    const request = (await loadAsRequest(store, "s")) as Session;
    const commands = await watchCommands(space, redis.url);
    expect(await store.reencode()).toMatchObject({ rewritten: 1 });
    await eventually(() => commands.includes("SET"));
    expect(commands).not.toContain("PUBLISH");
    await store.touch("s", request);
    await store.set("s", Object.assign(request, { n: 1 }));
    await store.set("s", Object.assign(request, { n: 2 }));
    expect(valuesOf(await store.get("s"))).toEqual({ user: "ada", n: 2 });
    expect((await store.sessionsOf("ada")).length).toBe(1);
  });
});

test("what cannot be decoded or encoded is reported, skipped, and stays as it is", async () => {
  const space = newSpace();
  const direct = await directClient({ url: redis.url });
  const { store } = await start(space, {
    decode: rotated.decode,
    encode: (text, context) => {
      if (context.sid === "stuck") throw new Error("no");
      return rotated.encode(text, context);
    },
  });
  const old = await start(space, before);
  for (const sid of ["a", "b", "stuck"]) await old.store.set(sid, sessionOf({ sid }));
  await direct.set(`${space.prefix}plain`, "{}");
  await direct.lPush(`${space.prefix}list`, "x");
  const stuck = await valueIn(direct, space, "stuck");
  const reports: unknown[] = [];
  store.on("clusterError", (error) => reports.push((error as Error & { code: string }).code));
  expect(await store.reencode()).toEqual({ scanned: 4, rewritten: 2, skipped: 2, cursor: undefined });
  expect(reports.sort()).toEqual(["ERR_SESSION_CORRUPT", "ERR_SESSION_SERIALIZE"]);
  expect(await valueIn(direct, space, "plain")).toBe("{}");
  expect(await valueIn(direct, space, "stuck")).toBe(stuck);
});

test("a value that is not valid UTF-8 is skipped", async () => {
  const space = newSpace();
  const direct = await directClient({ url: redis.url });
  const { store } = await start(space, { encode: (text) => `${text} `, decode: (value) => value.trim() });
  await direct.sendCommand(["SET", `${space.prefix}s`, Buffer.from([0x7b, 0xff, 0x7d])] as never);
  const reported = nextEvent(store, "clusterError");
  expect(await store.reencode()).toMatchObject({ scanned: 1, rewritten: 0, skipped: 1 });
  expect(await reported).toMatchObject([{ message: expect.stringContaining("not valid UTF-8") }]);
});

test("it needs a codec, and a cursor of its own", async () => {
  const plain = await startNode(newSpace(), { url: redis.url });
  await expect(plain.store.reencode()).rejects.toThrow(
    new TypeError("codec: expected a codec, which this method needs, got undefined"),
  );
  const { store } = await start(newSpace(), rotated);
  await expect(store.reencode({ cursor: "elsewhere" })).rejects.toThrow(
    "cursor: expected one that an earlier run",
  );
});
