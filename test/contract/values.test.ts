import type { Request } from "express";
import type { Session, SessionData } from "express-session";
import { describe, expect, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { nextEvent } from "../support/eventually.ts";
import {
  directClient,
  loadAsRequest,
  newSpace,
  ownRedis,
  sessionOf,
  startNode,
  valuesOf,
} from "../support/node.ts";
import { catchProcessEvents } from "../support/process-events.ts";

/** Whatever may stand under a session's key. */

const CORRUPT = ["null", "5", '"text"', "[]", "true", "{torn"];

const COOKIES = [
  undefined,
  null,
  5,
  "text",
  [],
  { maxAge: "x" },
  { originalMaxAge: "x" },
  { expires: "never" },
  { originalMaxAge: 1e300 },
  { path: "/\n" },
  { domain: "a;b" },
  { sameSite: {} },
  { priority: 7 },
  { _expires: "never" },
  { serialize: 1 },
  JSON.parse('{"__proto__":{}}'),
];

async function withValue(value: string) {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await direct.set(`${space.prefix}s`, value, { expiration: { type: "EX", value: 60 } });
  return { store, direct, key: `${space.prefix}s` };
}

/** `store.load`, as Socket.IO applications call it. */
function load(store: ClusteredRedisStore): Promise<[error: unknown, session: SessionData | undefined]> {
  return new Promise((resolve) => store.load("s", (...outcome) => resolve(outcome as never)));
}

describe.each(CORRUPT)("the value %s", (value) => {
  test("is an error for get and load, never an exception", async () => {
    const { store, direct, key } = await withValue(value);
    const exceptions = catchProcessEvents("uncaughtException");
    await expect(store.get("s")).rejects.toMatchObject({ code: "ERR_SESSION_CORRUPT" });
    expect(await load(store)).toMatchObject([{ code: "ERR_SESSION_CORRUPT" }]);
    expect(await direct.get(key)).toBe(value);
    expect(exceptions).toEqual([]);
  });

  test("blocks neither a save nor a logout", async () => {
    const { store, direct, key } = await withValue(value);
    await store.set("s", sessionOf({ v: 1 }));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    await direct.set(key, value);
    await store.destroy("s");
    expect(await direct.exists(key)).toBe(0);
  });
});

describe.each(COOKIES.map((cookie) => [JSON.stringify(cookie), cookie]))("the cookie %s", (_, cookie) => {
  test("is returned by get, and load and reload give the session a cookie that works", async () => {
    const value = JSON.stringify({ cookie, user: "ann" });
    const { store } = await withValue(value);
    const exceptions = catchProcessEvents("uncaughtException");
    expect(valuesOf(await store.get("s"))).toEqual({ user: "ann" });
    const [error, session] = await load(store);
    expect(error).toBeFalsy();
    expect(session).toMatchObject({ user: "ann", cookie: { path: "/", httpOnly: true } });
    const request = { sessionID: "s", sessionStore: store } as unknown as Request;
    const loaded = store.createSession(request, (await store.get("s")) as SessionData);
    await new Promise<void>((resolve, reject) =>
      loaded.reload((failure: unknown) => (failure ? reject(failure) : resolve())),
    );
    loaded.touch();
    const cookieOf = loaded.cookie as unknown as { serialize(name: string, value: string): string };
    expect(cookieOf.serialize("connect.sid", "value")).toContain("Path=/");
    await store.set("s", loaded);
    expect(valuesOf(await store.get("s"))).toEqual({ user: "ann" });
    expect(exceptions).toEqual([]);
  });
});

test("one that is too long is an error for its own request, and skipped where many are read", async () => {
  const space = newSpace();
  // Nobody else waits for it, and nothing here has a deadline that a busy machine misses.
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  const options = { indexBy: () => "ann", commandTimeoutMs: 200_000 };
  const { store } = await startNode(space, { url, store: options });
  const key = `${space.prefix}long`;
  await store.set("long", sessionOf());
  await store.set("s", sessionOf());
  await direct.setRange(key, 64 * 1024 * 1024, "x");
  store.evictFromCache("long");
  const reason = /^The value of session [0-9a-f]{16} in Redis is not a session: it is longer than 64 MiB$/;
  const expected = { code: "ERR_SESSION_CORRUPT", key, message: expect.stringMatching(reason) };
  await expect(store.get("long")).rejects.toMatchObject(expected);
  const reported = nextEvent(store, "clusterError");
  expect((await store.all()).map(({ id }) => id)).toEqual(["s"]);
  expect(await reported).toMatchObject([expected]);
  expect(await store.destroyAllOf("ann")).toBe(2);
  expect(await direct.exists(key)).toBe(0);
});

test.each(["originalMaxAge", "maxAge", "expires"])(
  "%s: false is none, and keeps the rest of the cookie",
  async (name) => {
    // What express-session stores for `cookie: { expires: false }`.
    const cookie = { [name]: false, path: "/app", secure: true, httpOnly: false, sameSite: "none" };
    const { store } = await withValue(JSON.stringify({ cookie, user: "ann" }));
    const [error, session] = await load(store);
    expect(error).toBeFalsy();
    expect(session?.cookie).toMatchObject({ path: "/app", secure: true, httpOnly: false, sameSite: "none" });
    (session as unknown as Session).touch();
    expect(session?.cookie.expires).toBeFalsy();
  },
);

test.each([null, undefined, 5, "text"])("createSession does not throw for %s", async (data) => {
  const { store } = await startNode(newSpace());
  const request = { sessionID: "s" } as Request;
  expect(store.createSession(request, data as unknown as SessionData).cookie.path).toBe("/");
});

test.each([
  {},
  { indexBy: (session: SessionData) => String(session["user"]) },
  { onConflict: "merge" } as const,
])(
  "a value nested too deeply to copy is corrupt, and blocks neither a save nor a logout (%j)",
  async (options) => {
    const space = newSpace();
    const direct = await directClient();
    const { store } = await startNode(space, { store: options });
    const key = `${space.prefix}s`;
    const deep = `{"cookie":{},"a":${"[".repeat(50_000)}${"]".repeat(50_000)}}`;
    await store.set("s", sessionOf({ user: "ann" }));
    const request = await loadAsRequest(store, "s");
    await direct.set(key, deep, { expiration: { type: "EX", value: 60 } });
    store.evictFromCache("s");
    await expect(store.get("s")).rejects.toMatchObject({
      code: "ERR_SESSION_CORRUPT",
      key,
      message: expect.stringMatching(/^The value of session [0-9a-f]{16} in Redis .* nested more than 1000 /),
    });
    await store.set("s", Object.assign(request, { v: 1 }));
    expect(valuesOf(await store.get("s"))).toMatchObject({ v: 1 });
    await direct.set(key, deep);
    store.evictFromCache("s");
    await expect(store.get("s")).rejects.toMatchObject({ code: "ERR_SESSION_CORRUPT" });
    await store.destroy("s");
    expect(await direct.exists(key)).toBe(0);
  },
);

test.each([
  ["an empty string", ""],
  ["a lone surrogate", "{\ud800}"],
])("a serializer that returns %s is an error, and nothing is written", async (_, text) => {
  const space = newSpace();
  const direct = await directClient();
  const serializer = { parse: () => sessionOf(), stringify: () => text };
  const { store } = await startNode(space, { store: { serializer } });
  await expect(store.set("s", sessionOf())).rejects.toMatchObject({ code: "ERR_SESSION_SERIALIZE" });
  expect(await direct.exists(`${space.prefix}s`)).toBe(0);
});

/** A chain of so many objects, in a session. */
function nested(levels: number): unknown {
  let value: unknown = '"\\{['.repeat(2_000);
  for (let i = 0; i < levels; i++) value = { a: value };
  return value;
}

const TOO_LONG = { encode: () => "x".repeat(64 * 1024 * 1024 + 1), decode: String };

describe.each([
  ["nested too deeply", () => sessionOf({ a: nested(1_000) }), {}, "it is nested more than 1000 levels deep"],
  ["that is an array", () => [1], {}, "its JSON is not an object"],
  ["that is a Date", () => new Date(), {}, "its JSON is not an object"],
  ["with a toJSON", () => sessionOf({ toJSON: () => "secret" }), {}, "its JSON is not an object"],
  ["whose value is too long", () => sessionOf(), { codec: TOO_LONG }, "it is longer than 64 MiB"],
])("a session %s", (_, create, options, reason) => {
  test("could not be read, so it is not written, and what was there stays", async () => {
    const space = newSpace();
    const direct = await directClient();
    const { store } = await startNode(space, { store: options });
    const key = `${space.prefix}s`;
    const text = JSON.stringify(sessionOf({ v: 1 }));
    await direct.set(key, text, { expiration: { type: "EX", value: 60 } });
    await expect(store.set("s", create() as SessionData)).rejects.toMatchObject({
      code: "ERR_SESSION_SERIALIZE",
      message: expect.stringMatching(`^The session [0-9a-f]{16} cannot be serialized: ${reason}$`),
      key,
    });
    expect(await direct.get(key)).toBe(text);
  });
});

test("a session that is nested as deeply as may be is written, and read as it was", async () => {
  const { store } = await startNode(newSpace());
  const session = sessionOf({ a: nested(999) });
  await store.set("s", session);
  store.evictFromCache("s");
  expect(JSON.stringify(valuesOf(await store.get("s")))).toBe(JSON.stringify(valuesOf(session)));
});
