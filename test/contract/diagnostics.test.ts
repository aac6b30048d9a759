import { AsyncLocalStorage } from "node:async_hooks";
import { createHash } from "node:crypto";
import { channel, tracingChannel } from "node:diagnostics_channel";
import { inspect } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import type { StoreEventMessage, StoreOperation } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import {
  cacheIn,
  directClient,
  loadAsRequest,
  newSpace,
  sessionOf,
  startNode,
  watchCommands,
} from "../support/node.ts";
import { catchProcessEvents } from "../support/process-events.ts";

type Phase = "start" | "end" | "asyncStart" | "asyncEnd" | "error";
interface Told {
  readonly phase: Phase;
  readonly message: StoreOperation;
}

const operations = tracingChannel<unknown, object>("clustered-redis-store:operation");

/** Records what the tracing channel publishes of one process. */
function listen(nodeId: string): Told[] {
  const told: Told[] = [];
  const note = (phase: Phase) => (message: unknown) => {
    const operation = message as StoreOperation;
    if (operation.nodeId === nodeId) told.push({ phase, message: operation });
  };
  const subscribers = {
    start: note("start"),
    end: note("end"),
    asyncStart: note("asyncStart"),
    asyncEnd: note("asyncEnd"),
    error: note("error"),
  };
  operations.subscribe(subscribers);
  onTestFinished(() => {
    operations.unsubscribe(subscribers);
  });
  return told;
}

/** Records what the channel of an event publishes of one process. */
function listenFor(event: string, nodeId: string): StoreEventMessage[] {
  const told: StoreEventMessage[] = [];
  const note = (message: unknown) => {
    if ((message as StoreEventMessage).nodeId === nodeId) told.push(message as StoreEventMessage);
  };
  channel(`clustered-redis-store:${event}`).subscribe(note);
  onTestFinished(() => {
    channel(`clustered-redis-store:${event}`).unsubscribe(note);
  });
  return told;
}

const labelOf = (sid: string) => createHash("sha256").update(sid).digest("hex").slice(0, 16);

/** The published operations, in the order in which they ended. */
function ended(told: Told[]) {
  return told
    .filter(({ phase }) => phase === "asyncEnd")
    .map(({ message: { operation, session, result } }) => ({ operation, session, found: result?.found }));
}

test("each operation that goes to Redis is published, and a hit is not", async () => {
  const { store } = await startNode(newSpace(), { cluster: { nodeId: "told" } });
  const told = listen("told");
  const session = labelOf("s");

  await store.get("s");
  await store.set("s", sessionOf({ user: "ann" }));
  await store.get("s");
  store.evictFromCache("s");
  await store.get("s");
  await store.touch("s", sessionOf({}, 120_000));
  await store.destroy("s");
  await eventually(() => ended(told).length === 5);
  expect(ended(told)).toEqual([
    { operation: "get", session, found: false },
    { operation: "set", session, found: true },
    { operation: "get", session, found: true },
    { operation: "touch", session, found: true },
    { operation: "destroy", session, found: undefined },
  ]);

  told.length = 0;
  for (const sid of ["t", "u"]) await store.set(sid, sessionOf());
  await store.destroyWhere(() => true);
  await eventually(() => ended(told).some(({ operation }) => operation === "destroy"));
  expect(ended(told).find(({ operation }) => operation === "destroy")?.session).toBeUndefined();
  await store.set("t", sessionOf());
  await store.all();
  await store.clear();
  await store.health();
  await eventually(() => ended(told).some(({ operation }) => operation === "ping"));
  const names = new Set(ended(told).map(({ operation }) => operation));
  expect([...names].sort()).toEqual(["clear", "destroy", "get many", "ping", "scan", "set"]);
});

test("a get that waits for a write of its own process says that the session was found", async () => {
  const { store } = await startNode(newSpace(), { cluster: { nodeId: "waiting" } });
  const told = listen("waiting");
  const saved = store.set("s", sessionOf());
  await store.get("s");
  await saved;
  const begun = () => told.filter(({ phase }) => phase === "start").length;
  await eventually(() => ended(told).length === begun());
  const found = ended(told).map((operation) => operation.found);
  expect(found.length).toBeGreaterThanOrEqual(2);
  expect(new Set(found)).toEqual(new Set([true]));
});

test("the phases of an operation share one message, and follow each other as those of tracePromise", async () => {
  const { store } = await startNode(newSpace(), { cluster: { nodeId: "phases" } });
  const told = listen("phases");
  await store.get("s");
  await eventually(() => told.length === 4);
  expect(told.map(({ phase }) => phase)).toEqual(["start", "end", "asyncStart", "asyncEnd"]);
  expect(new Set(told.map(({ message }) => message)).size).toBe(1);
});

test("reads that are joined are published once, as they are sent once", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { cluster: { nodeId: "joined" } });
  const commands = await watchCommands(space);
  const told = listen("joined");
  await Promise.all([store.get("s"), store.get("s"), store.get("s")]);
  await eventually(() => ended(told).length > 0 && commands.includes("GETRANGE"));
  expect(ended(told)).toHaveLength(1);
  expect(commands.filter((command) => command === "GETRANGE")).toHaveLength(1);
});

test("what a subscriber binds to the start is there while Redis is asked, and only there", async () => {
  const { store } = await startNode(newSpace(), {
    cluster: { nodeId: "bound" },
    store: {
      serializer: {
        parse: (text) => {
          seen.push(storage.getStore());
          return JSON.parse(text);
        },
        stringify: JSON.stringify,
      },
    },
  });
  const storage = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  operations.start.bindStore(storage, (message) => `in ${(message as StoreOperation).operation}`);
  onTestFinished(() => {
    operations.start.unbindStore(storage);
  });
  await store.set("s", sessionOf());
  store.evictFromCache("s");
  await store.get("s");
  expect(seen[0]).toBe("in get");
  expect(storage.getStore()).toBeUndefined();
});

test("no message holds a session id, a key or anything of the session, in success or failure", async () => {
  const space = newSpace();
  const { store, client } = await startNode(space, { cluster: { nodeId: "secret" } });
  const other = await startNode(space);
  const told = listen("secret");
  const events = ["invalidate", "resurrection", "clusterError"].map((name) => listenFor(name, "secret"));
  const direct = await directClient();
  const sid = "the-sid";

  await store.set(sid, sessionOf({ user: "ann" }));
  const loaded = await loadAsRequest(store, sid);
  await other.store.destroy(sid);
  await eventually(() => events[0]?.length);
  await store.set(sid, Object.assign(loaded, { user: "bob" }));
  await direct.set(`${space.prefix}${sid}`, '{"user":"carl"');
  await expect(store.get(sid)).rejects.toMatchObject({ code: "ERR_SESSION_CORRUPT" });
  await direct.del(`${space.prefix}${sid}`);
  await direct.lPush(`${space.prefix}${sid}`, "x");
  await expect(store.get(sid)).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
  client.destroy();
  await store.touch(sid, sessionOf({}, 500_000));
  await eventually(() => events.every((one) => one.length > 0));
  await eventually(() => told.filter(({ phase }) => phase === "error").length === 3);

  const all = inspect([told, events], { depth: 10, showHidden: true });
  for (const secret of [sid, space.prefix, "ann", "bob", "carl", "cookie"]) expect(all).not.toContain(secret);
  expect(all).toContain(labelOf(sid));
  const errors = told.filter(({ phase }) => phase === "error").map(({ message }) => message.error);
  expect(errors.map((error) => error?.message)).toEqual([
    "ERR_SESSION_CORRUPT",
    "ERR_SESSION_REDIS: WRONGTYPE",
    "ERR_SESSION_REDIS",
  ]);
  expect(errors[1]).toMatchObject({ name: "SessionStoreError", code: "ERR_SESSION_REDIS" });
  expect(errors[1]).toBeInstanceOf(Error);
});

test("the caller gets the store's own result and error, whoever subscribes", async () => {
  const { store, client } = await startNode(newSpace(), { cluster: { nodeId: "own" } });
  listen("own");
  await store.set("s", sessionOf({ user: "ann" }));
  store.evictFromCache("s");
  expect(await store.get("s")).toMatchObject({ user: "ann" });
  store.evictFromCache("s");
  client.destroy();
  await expect(store.get("s")).rejects.toThrow(/"?s"?.*closed|closed/);
});

test("a subscriber that throws fails no request: its exception is uncaught", async () => {
  const { store } = await startNode(newSpace(), { cluster: { nodeId: "throws" } });
  const uncaught = catchProcessEvents("uncaughtException");
  const subscriber = (message: unknown) => {
    if ((message as StoreOperation).nodeId === "throws") throw new Error("a faulty tracer");
  };
  operations.start.subscribe(subscriber);
  onTestFinished(() => {
    operations.start.unsubscribe(subscriber);
  });
  await store.set("s", sessionOf({ user: "ann" }));
  expect(await store.get("s")).toMatchObject({ user: "ann" });
  await eventually(() => uncaught.length > 0);
  expect(uncaught).toEqual([new Error("a faulty tracer")]);
});

test("the events of the store have channels", async () => {
  const space = newSpace();
  const a = await startNode(space, { cluster: { nodeId: "node a" } });
  const b = await startNode(space, { cluster: { nodeId: "node b" } });
  const names = ["live", "suspect", "flush", "invalidate"];
  const [live, suspect, flush, invalidate] = names.map((name) => listenFor(name, "node a"));
  await a.store.set("s", sessionOf());
  await cacheIn(a.store, "s");
  await b.store.set("s", sessionOf());
  await eventually(() => invalidate?.length);
  expect(invalidate?.[0]).toEqual({
    event: "invalidate",
    nodeId: "node a",
    session: labelOf("s"),
    from: "node b",
  });
  for (const told of [live, suspect, flush]) told?.splice(0);
  a.bus.cut();
  await eventually(() => live?.length);
  expect(live?.[0]).toEqual({ event: "live", nodeId: "node a" });
  expect(suspect?.[0]).toMatchObject({ event: "suspect", nodeId: "node a", reason: expect.any(String) });
  expect(flush?.[0]).toEqual({ ...suspect?.[0], event: "flush" });
});
