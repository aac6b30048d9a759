import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { type NodeOptions, newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";
import { catchProcessEvents } from "../support/process-events.ts";

test("a hit calls back once, before get returns", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf());
  let calls = 0;
  store.get("s", () => calls++);
  expect(calls).toBe(1);
  await nextTurn();
  expect(calls).toBe(1);
});

test("a chain of 100,000 callbacks over cached sessions does not overflow the stack", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf());
  await new Promise<void>((resolve, reject) => {
    const next = (left: number) => {
      if (left === 0) return resolve();
      store.get("s", (error) => (error ? reject(error) : next(left - 1)));
    };
    next(100_000);
  });
});

test("a chain of 100,000 callbacks of skipped touches does not overflow the stack", async () => {
  const { store } = await startNode(newSpace());
  const session = sessionOf();
  await store.set("s", session);
  await new Promise<void>((resolve, reject) => {
    const next = (left: number) => {
      if (left === 0) return resolve();
      store.touch("s", session, (error) => (error ? reject(error) : next(left - 1)));
    };
    next(100_000);
  });
});

test("a chain continues after a callback within it has thrown", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf());
  for (let i = 0; i < 100; i++) {
    expect(() =>
      store.get("s", () => {
        throw new Error("the application's");
      }),
    ).toThrow("the application's");
  }
  let calls = 0;
  store.get("s", () => calls++);
  expect(calls).toBe(1);
});

test("a touch that is skipped calls back before it returns", async () => {
  const { store } = await startNode(newSpace());
  const session = sessionOf();
  await store.set("s", session);
  let calls = 0;
  store.touch("s", session, () => calls++);
  expect(calls).toBe(1);
  expect(() =>
    store.touch("s", session, () => {
      throw new Error("the application's");
    }),
  ).toThrow("the application's");
});

const operations: Record<string, (store: ClusteredRedisStore, callback: () => void) => void> = {
  "get (a miss)": (store, callback) => store.get("nobody", callback),
  // On a stack of its own, since a hit calls back, and so throws, before `get` returns.
  "get (a hit)": (store, callback) => setImmediate(() => store.get("cached", callback)),
  set: (store, callback) => store.set("s", sessionOf(), callback),
  touch: (store, callback) => store.touch("nobody", sessionOf(), callback),
  destroy: (store, callback) => store.destroy("s", callback),
  all: (store, callback) => store.all(callback),
  ids: (store, callback) => store.ids(callback),
  length: (store, callback) => store.length(callback),
  clear: (store, callback) => store.clear(callback),
};

for (const [name, operation] of Object.entries(operations)) {
  test(`${name}: a callback that throws is called once, and what it throws is an uncaught exception, no rejection`, async () => {
    const { store } = await startNode(newSpace());
    const exceptions = catchProcessEvents("uncaughtException");
    const rejections = catchProcessEvents("unhandledRejection");
    await store.set("cached", sessionOf());
    let calls = 0;
    operation(store, () => {
      calls++;
      throw new Error(`the application's, in ${name}`);
    });
    await eventually(() => exceptions.length > 0);
    await nextTurn();
    expect(calls).toBe(1);
    expect(exceptions.map(String)).toEqual([`Error: the application's, in ${name}`]);
    expect(rejections).toEqual([]);
  });

  test(`${name}: an error calls back once, too`, async () => {
    const { store, client } = await startNode(newSpace());
    const rejections = catchProcessEvents("unhandledRejection");
    client.destroy();
    let calls = 0;
    await new Promise<void>((resolve) => {
      operation(store, () => {
        calls++;
        resolve();
      });
    });
    await nextTurn();
    expect(calls).toBe(1);
    expect(rejections).toEqual([]);
  });
}

test("a failure without a caller is no unhandled rejection", async () => {
  const { store, client } = await startNode(newSpace());
  const rejections = catchProcessEvents("unhandledRejection");
  const told: unknown[] = [];
  store.on("clusterError", (error) => told.push(error));
  client.destroy();
  void store.get("s");
  void store.set("s", sessionOf());
  void store.clear();
  void store.ready();
  await store.close();
  void store.ready();
  void store.destroy("s");
  await eventually(() => told.length > 0);
  await nextTurn();
  expect(rejections).toEqual([]);
});

const rejects = (async () => {
  throw new Error("the application's");
}) as never;
const decode = (value: string) => value;
const ASYNCHRONOUS: Record<string, NodeOptions["store"]> = {
  ttl: { ttl: rejects },
  indexBy: { indexBy: rejects },
  "serializer.stringify": { serializer: { parse: JSON.parse, stringify: rejects } },
  "codec.encode": { codec: { encode: rejects, decode } },
  "codec.decode": { codec: { encode: decode, decode: rejects } },
};

test.each(Object.entries(ASYNCHRONOUS))(
  "%s that is asynchronous by mistake is an error of the operation, and no unhandled rejection",
  async (_name, options = {}) => {
    const rejections = catchProcessEvents("unhandledRejection");
    const space = newSpace();
    const before = await startNode(space);
    await before.store.set("s", sessionOf());
    const { store } = await startNode(space, { store: options });
    const outcomes = await Promise.allSettled([store.get("s"), store.set("other", sessionOf())]);
    const [failed] = outcomes.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(failed?.reason.message).toContain("an object (Promise)");
    await store.destroy("s");
    await nextTurn();
    expect(rejections).toEqual([]);
  },
);

test("a callback runs in the asynchronous context of its caller, even if another's read is shared", async () => {
  const { AsyncLocalStorage } = await import("node:async_hooks");
  const context = new AsyncLocalStorage<string>();
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf());
  store.evictFromCache("s");
  const seen = await Promise.all(
    ["one", "other"].map((name) =>
      context.run(name, () => new Promise((resolve) => store.get("s", () => resolve(context.getStore())))),
    ),
  );
  expect(seen).toEqual(["one", "other"]);
});

test("a listener that throws fails no operation: its exception is uncaught", async () => {
  const space = newSpace();
  const a = await startNode(space);
  const b = await startNode(space);
  const exceptions = catchProcessEvents("uncaughtException");
  a.store.on("invalidate", () => {
    throw new Error("the observer's");
  });
  await a.store.set("s", sessionOf());
  await a.store.set("t", sessionOf());
  await b.store.set("s", sessionOf());
  await b.store.set("t", sessionOf());
  await eventually(() => a.store.clusterStats.invalidations === 2);
  expect(a.store.localCache.size).toBe(0);
  await eventually(() => exceptions.length === 2);
  expect(a.store.clusterStats.state).toBe("live");
});

describe("a callback that is no function", () => {
  type AnyMethod = (...args: unknown[]) => unknown;
  const methods: Record<string, unknown[]> = {
    get: ["s"],
    set: ["s", sessionOf()],
    touch: ["s", sessionOf()],
    destroy: ["s"],
    all: [],
    ids: [],
    length: [],
    clear: [],
  };

  test.each(Object.keys(methods))(
    "%s: null, undefined and false mean none, anything else is refused at the call",
    async (name) => {
      const { store } = await startNode(newSpace());
      await store.set("s", sessionOf({ v: 1 }));
      const method = (store as unknown as Record<string, AnyMethod>)[name] as AnyMethod;
      for (const callback of [86_400, "cb", {}, true, 0, ""]) {
        expect(() => method.call(store, ...(methods[name] as unknown[]), callback)).toThrow(TypeError);
      }
      expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
      for (const callback of [null, undefined, false]) {
        await method.call(store, ...(methods[name] as unknown[]), callback);
      }
    },
  );

  test("a logout with null as its callback works, and its failure is an event", async () => {
    const { store, client } = await startNode(newSpace());
    const destroy = store.destroy as unknown as AnyMethod;
    await store.set("s", sessionOf());
    await destroy.call(store, "s", null);
    expect(await store.get("s")).toBeNull();
    const failures: unknown[] = [];
    store.on("clusterError", (error) => failures.push(error));
    client.destroy();
    void destroy.call(store, "s", null);
    await eventually(() => failures.length > 0);
  });
});
