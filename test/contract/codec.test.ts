import { randomBytes } from "node:crypto";
import { RedisStore as ConnectRedis } from "connect-redis";
import type { SessionData } from "express-session";
import { describe, expect, test } from "vitest";
import { composed, compressed, encrypted } from "../../lib/codecs.ts";
import type { Codec, IndexBy, SessionStoreError } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import {
  directClient,
  loadAsRequest,
  newSpace,
  type Space,
  sessionOf,
  setAndReceive,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

const KEY = { id: "k", key: randomBytes(32) };
const encryption = encrypted({ keys: [KEY] });
const indexBy: IndexBy = (session) => (session as SessionData & { user?: string }).user;

const start = (space: Space, options = {}) => startNode(space, { store: { codec: encryption, ...options } });

/** What Redis holds. */
async function valueIn(space: Space, sid: string): Promise<string> {
  return String(await (await directClient()).get(space.prefix + sid));
}

/** A codec that counts its calls. */
function counting(codec: Codec): Codec & { encoded: number; decoded: number } {
  return {
    encoded: 0,
    decoded: 0,
    encode(text, context) {
      this.encoded++;
      return codec.encode(text, context);
    },
    decode(value, context) {
      this.decoded++;
      return codec.decode(value, context);
    },
  };
}

test("Redis holds what the codec makes of the serializer's text, and every process reads it", async () => {
  const space = newSpace();
  const seen: unknown[] = [];
  const spy: Codec = {
    encode: (text, context) => {
      seen.push(context);
      return `<${text}>`;
    },
    decode: (value, context) => {
      seen.push(context);
      return value.slice(1, -1);
    },
  };
  const a = await start(space, { codec: spy });
  const b = await start(space, { codec: spy });
  const session = sessionOf({ name: "Zoë" });
  await a.store.set("s", session);
  expect(await valueIn(space, "s")).toBe(`<${JSON.stringify(session)}>`);
  expect(valuesOf(await b.store.get("s"))).toEqual({ name: "Zoë" });
  expect(seen).toEqual(Array(2).fill({ sid: "s", key: `${space.prefix}s` }));
  expect(await b.store.length()).toBe(1);
  for await (const { session: each } of b.store.sessions()) expect(valuesOf(each)).toEqual({ name: "Zoë" });
  expect((await b.store.all()).map(valuesOf)).toEqual([{ id: "s", name: "Zoë" }]);
});

const own = {
  parse: (text: string) => JSON.parse(text) as SessionData,
  stringify: (session: SessionData) => JSON.stringify(session),
};
const slow = { ...own, parse: async (text: string) => own.parse(text) };

describe.each([
  ["JSON", JSON],
  ["another serializer", own],
  ["an asynchronous serializer", slow],
])("with %s", (_, serializer) => {
  test.each([
    ["saves that overwrite", {}],
    ["merging", { onConflict: "merge" }],
    ["an index", { indexBy }],
  ])("and %s, cache hits do not decode", async (_name, options) => {
    const space = newSpace();
    const codec = counting(encryption);
    const { store } = await start(space, { codec, serializer, ...options });
    await setAndReceive(store, "s", sessionOf({ n: 1, user: "ada" }));
    for (let i = 0; i < 10; i++) expect(await store.get("s")).toMatchObject({ n: 1 });
    expect([codec.encoded, codec.decoded]).toEqual([1, 0]);
    store.evictFromCache("s");
    for (let i = 0; i < 10; i++) expect(await store.get("s")).toMatchObject({ n: 1 });
    expect([codec.encoded, codec.decoded]).toEqual([1, 1]);
    expect(store.cacheStats.hits).toBeGreaterThanOrEqual(19);
  });

  test("a save that changes nothing is compared by its text: nothing is written or decoded", async () => {
    const space = newSpace();
    const codec = counting(encryption);
    const { store } = await start(space, { codec, serializer });
    await store.set("s", sessionOf({ n: 1 }));
    const request = await loadAsRequest(store, "s");
    const before = await valueIn(space, "s");
    await store.set("s", request);
    expect(await valueIn(space, "s")).toBe(before);
    expect([codec.encoded, codec.decoded]).toEqual([1, 0]);
    await store.set("s", Object.assign(request, { n: 2 }));
    expect(await valueIn(space, "s")).not.toBe(before);
    expect(codec.decoded).toBe(0);
  });
});

test("the cache holds only the text where nothing compares values, and both elsewhere", async () => {
  for (const [options, isHeld] of [
    [{}, false],
    [{ onConflict: "merge" }, true],
    [{ indexBy }, true],
  ] as const) {
    const space = newSpace();
    const { store } = await start(space, options);
    await setAndReceive(store, "s", sessionOf({ big: "x".repeat(10_000) }));
    for (const evicts of [false, true]) {
      if (evicts) store.evictFromCache("s");
      // From the second read on the parsed session is kept.
      for (let reads = 0; reads < 2; reads++) await store.get("s");
      const stored = store.localCache.peek("s");
      expect(stored?.value).toBe(isHeld ? await valueIn(space, "s") : undefined);
      // Text and parsed session; the value in base64 adds another 4/3.
      expect(store.cacheStats.bytes > 33_000).toBe(isHeld);
    }
  }
});

test("merging compares what Redis holds, and merges what it decodes to", async () => {
  const space = newSpace();
  const codec = counting(encryption);
  const options = { codec, onConflict: "merge" };
  const a = await start(space, options);
  const b = await start(space, options);
  await a.store.set("s", sessionOf({ kept: 1 }));
  const mine = await loadAsRequest(a.store, "s");
  const theirs = await loadAsRequest(b.store, "s");
  const decodedBefore = codec.decoded;
  await b.store.set("s", Object.assign(theirs, { theirs: 1 }));
  // Nobody else has written: the value is the one that was read, and is not decoded again.
  expect(codec.decoded).toBe(decodedBefore);
  expect(b.store.clusterStats.conflicts).toBe(0);
  await a.store.set("s", Object.assign(mine, { mine: 1 }));
  expect(a.store.clusterStats.conflicts).toBe(1);
  expect(codec.decoded).toBe(decodedBefore + 1);
  await a.store.set("s", Object.assign(mine, { mine: 2 }));
  expect(a.store.clusterStats.conflicts).toBe(1);
  await eventually(async () => {
    expect(valuesOf(await b.store.get("s"))).toEqual({ kept: 1, mine: 2, theirs: 1 });
    return true;
  });
});

test("a value that another process has encrypted anew is no conflicting change", async () => {
  const space = newSpace();
  const { store } = await start(space, { onConflict: "merge", resolveConflict: () => "conflict" });
  await store.set("s", sessionOf({ n: 1 }));
  const request = await loadAsRequest(store, "s");
  const direct = await directClient();
  const context = { sid: "s", key: `${space.prefix}s` };
  const text = encryption.decode(await valueIn(space, "s"), context);
  await direct.set(`${space.prefix}s`, encryption.encode(text, context));
  await store.set("s", Object.assign(request, { n: 2 }));
  expect(valuesOf(await store.get("s"))).toEqual({ n: 2 });
});

test("with an index a touch compares what Redis holds, and reads nothing", async () => {
  const space = newSpace();
  const { store } = await start(space, { indexBy, touchAfterMs: 0 });
  await store.set("s", sessionOf({ user: "ada" }));
  const request = await loadAsRequest(store, "s");
  const commands = await watchCommands(space);
  request.cookie.maxAge = 3_600_000;
  await store.touch("s", request);
  await eventually(() => commands.includes("PEXPIRE"));
  expect(commands.filter((name) => name === "EVALSHA").length).toBeLessThanOrEqual(1);
  // Another process has given it to somebody else: the touch extends that one's entry.
  const other = await start(space, { indexBy });
  await other.store.set("s", sessionOf({ user: "bob" }));
  store.evictFromCache("s");
  request.cookie.maxAge = 7_200_000;
  await store.touch("s", request);
  expect((await store.sessionsOf("bob")).map(({ sid }) => sid)).toEqual(["s"]);
  expect(await store.destroyAllOf("bob")).toBe(1);
  expect(await store.destroyWhere(() => true)).toBe(0);
});

test("destroyWhere deletes by what is decoded", async () => {
  const { store } = await start(newSpace());
  for (let i = 0; i < 10; i++) await store.set(`s${i}`, sessionOf({ i }));
  expect(await store.destroyWhere((session) => (session as SessionData & { i: number }).i < 4)).toBe(4);
  expect(await store.length()).toBe(6);
});

describe("values that cannot be decoded", () => {
  test("one session's value is useless under another's key", async () => {
    const space = newSpace();
    const { store } = await start(space);
    await store.set("admin", sessionOf({ admin: true }));
    await store.set("mallory", sessionOf({}));
    const direct = await directClient();
    await direct.copy(`${space.prefix}admin`, `${space.prefix}mallory`, { REPLACE: true });
    store.evictFromCache("mallory");
    await expect(store.get("mallory")).rejects.toMatchObject({
      code: "ERR_SESSION_CORRUPT",
      message: expect.stringMatching(
        /the codec threw CodecError ERR_CODEC_NOT_AUTHENTIC \(it was changed or copied, or another key has the same id\)$/,
      ),
      serializerError: expect.objectContaining({ code: "ERR_CODEC_NOT_AUTHENTIC" }),
    });
  });

  test("plaintext is corrupt, and connect-redis's sessions are, unless acceptPlain is set", async () => {
    const space = newSpace();
    const direct = await directClient();
    const connect = new ConnectRedis({ client: direct, prefix: space.prefix });
    await connect.set("s", sessionOf({ n: 1 }));
    const strict = await start(space);
    await expect(strict.store.get("s")).rejects.toThrow("ERR_CODEC_PLAIN");
    const lenient = await start(space, { codec: encrypted({ keys: [KEY], acceptPlain: true }) });
    const request = await loadAsRequest(lenient.store, "s");
    await lenient.store.set("s", Object.assign(request, { n: 2 }));
    expect(valuesOf(await strict.store.get("s"))).toEqual({ n: 2 });
  });

  test("an error names neither the session id nor anything of the session", async () => {
    const codec: Codec = {
      encode: String,
      decode: (value) => {
        throw new Error(`cannot decode ${value}`);
      },
    };
    const { store } = await start(newSpace(), { codec });
    await store.set("very-secret-id", sessionOf({ name: "Ada" }));
    store.evictFromCache("very-secret-id");
    const error: SessionStoreError = await store.get("very-secret-id").then(
      () => expect.unreachable(),
      (thrown) => thrown,
    );
    expect(error.code).toBe("ERR_SESSION_CORRUPT");
    expect(error.message).toMatch(
      /^The value of session [\da-f]{16} in Redis is not a session: the codec threw Error$/,
    );
  });

  test("decode may return nothing but a string", async () => {
    const codec = { encode: String, decode: () => Buffer.from("{}") } as unknown as Codec;
    const { store } = await start(newSpace(), { codec });
    await store.set("s", sessionOf({}));
    store.evictFromCache("s");
    await expect(store.get("s")).rejects.toThrow("codec.decode returned an object (Buffer)");
  });

  test('with onCorrupt: "none" a lost key means new sessions, not errors, and a logout needs none', async () => {
    const space = newSpace();
    const before = await start(space);
    const now = await start(space, {
      codec: encrypted({ keys: [{ id: "new", key: randomBytes(32) }] }),
      onCorrupt: "none",
    });
    const routes: Parameters<typeof startApp>[2] = (app) => {
      app.get("/", ({ session }, response) => {
        session.views = (session.views ?? 0) + 1;
        response.json({ views: session.views });
      });
      app.get("/logout", ({ session }, response, next) => {
        session.destroy((error) => (error ? next(error) : response.json({})));
      });
    };
    const [old, app] = [await startApp(before.store, {}, routes), await startApp(now.store, {}, routes)];
    const browser = new Browser();
    await browser.fetch(old, "/");
    expect(await browser.fetch(old, "/")).toMatchObject({ body: { views: 2 } });
    const reported = nextEvent(now.store, "clusterError");
    expect(await browser.fetch(app, "/")).toMatchObject({ status: 200, body: { views: 1 } });
    expect(await reported).toMatchObject([{ code: "ERR_SESSION_CORRUPT" }]);
    // The unreadable session is as it was: whoever has the key can still read it.
    expect(await before.store.length()).toBe(2);
    const [sid = ""] = await before.store.ids();
    await now.store.destroy(sid);
    expect(await before.store.length()).toBe(1);
    expect(await browser.fetch(app, "/logout")).toMatchObject({ status: 200 });
  });

  test('onCorrupt: "none" is also about what this process has written, and cached', async () => {
    const parse = (text: string) => {
      throw new Error(text);
    };
    const serializers = [parse, async (text: string) => parse(text)].map((parse) => ({
      stringify: JSON.stringify,
      parse,
    }));
    for (const serializer of serializers) {
      const { store } = await start(newSpace(), { onCorrupt: "none", serializer });
      await eventually(async () => {
        await store.set("s", sessionOf());
        return store.localCache.peek("s") !== undefined;
      });
      const reported = nextEvent(store, "clusterError");
      expect(await store.get("s")).toBeNull();
      expect(await reported).toMatchObject([{ code: "ERR_SESSION_CORRUPT" }]);
    }
  });

  test('onCorrupt: "none" is about values, not about Redis: other errors remain errors', async () => {
    const space = newSpace();
    const { store } = await start(space, { onCorrupt: "none" });
    const direct = await directClient();
    await direct.lPush(`${space.prefix}list`, "a");
    await expect(store.get("list")).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
    await direct.set(
      `${space.prefix}number`,
      encryption.encode("5", { sid: "number", key: `${space.prefix}number` }),
    );
    expect(await store.get("number")).toBeNull();
  });

  test("a session that cannot be decoded can be overwritten, and merged with by replacing it", async () => {
    const space = newSpace();
    const { store } = await start(space, { onConflict: "merge" });
    await store.set("s", sessionOf({ n: 1 }));
    const request = await loadAsRequest(store, "s");
    await (await directClient()).set(`${space.prefix}s`, "enc:v1:other:AAAA");
    await store.set("s", Object.assign(request, { n: 2 }));
    expect(valuesOf(await store.get("s"))).toEqual({ n: 2 });
  });
});

describe("what cannot be encoded is not written", () => {
  test.each([
    [
      "throws",
      () => {
        throw new RangeError("secret");
      },
      "the codec threw RangeError",
    ],
    ["returns a Buffer", () => Buffer.from("x"), "codec.encode returned an object (Buffer)"],
    ["returns an empty string", () => "", "codec.encode returned an empty string"],
    [
      "returns a lone surrogate",
      () => "\ud800",
      "codec.encode returned a string that is not well-formed UTF-16",
    ],
  ])("encode %s", async (_name, encode, reason) => {
    for (const options of [{}, { onConflict: "merge" }, { indexBy }]) {
      const space = newSpace();
      let isBroken = false;
      const codec = { encode: (text: string) => (isBroken ? encode() : text), decode: String } as Codec;
      const { store } = await start(space, { codec, ...options });
      await store.set("s", sessionOf({ n: 1 }));
      const request = await loadAsRequest(store, "s");
      isBroken = true;
      const saving = store.set("s", Object.assign(request, { n: 2 }));
      await expect(saving).rejects.toMatchObject({ code: "ERR_SESSION_SERIALIZE" });
      await expect(saving).rejects.toThrow(reason);
      isBroken = false;
      expect(valuesOf(await store.get("s"))).toEqual({ n: 1 });
      await store.set("s", request);
      expect(valuesOf(await store.get("s"))).toEqual({ n: 2 });
    }
  });
});

test("compression and encryption together", async () => {
  const space = newSpace();
  const codec = composed(compressed({ fromBytes: 100 }), encryption);
  const { store } = await start(space, { codec });
  await store.set("s", sessionOf({ list: Array(100).fill("product") }));
  const value = await valueIn(space, "s");
  expect(value).toMatch(/^enc:v1:k:/);
  expect(value.length).toBeLessThan(400);
  store.evictFromCache("s");
  expect(valuesOf(await store.get("s"))).toEqual({ list: Array(100).fill("product") });
});
