import { AsyncLocalStorage } from "node:async_hooks";
import { inspect } from "node:util";
import { createClient } from "redis";
import { expect, inject, onTestFinished, test } from "vitest";
import { ClusteredRedisStore, SessionStoreError } from "../../lib/index.ts";
import type { CommandBatch } from "../../lib/redis/client.ts";
import { Deadline } from "../../lib/redis/deadlines.ts";
import { CommandExecutor } from "../../lib/redis/executor.ts";
import type { Topology } from "../../lib/redis/topology.ts";
import { eventually } from "../support/eventually.ts";
import { directClient, newSpace, sessionOf, startNode } from "../support/node.ts";

const SID = "the-id-of-a-session";
const SECRET = "the-secret-of-a-user";

/** An error as Express, `console.log` and loggers show it. */
async function shownFailure(work: Promise<unknown>): Promise<{ error: SessionStoreError; text: string }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SessionStoreError)) throw new Error(`Not a SessionStoreError: ${String(error)}`);
  return { error, text: [inspect(error), error.stack, JSON.stringify(error)].join("\n") };
}

test("of a timeout", async () => {
  const space = newSpace();
  const { store, data } = await startNode(space, { store: { commandTimeoutMs: 1_000 }, readsOnClient: true });
  data.hold("toClient");
  for (const work of [store.get(SID), store.set(SID, sessionOf({ SECRET })), store.destroy(SID)]) {
    const { error, text } = await shownFailure(work);
    expect(error).toMatchObject({ code: "ERR_SESSION_TIMEOUT", key: space.prefix + SID });
    expect(error.message).toMatch(/^(get|set|destroy) of session [0-9a-f]{16}: no answer in 1000 ms$/);
    expect(text).not.toContain(SID);
    expect(text).not.toContain(SECRET);
  }
});

test.each([`{"x":"${SECRET}`, `"${SECRET}"`, `["${SECRET}"]`, SECRET])("of the value %s", async (value) => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space);
  await direct.set(space.prefix + SID, value);
  const { error, text } = await shownFailure(store.get(SID));
  expect(error).toMatchObject({ code: "ERR_SESSION_CORRUPT", key: space.prefix + SID });
  expect(text).not.toContain(SID);
  expect(text).not.toMatch(/the-secret/);
});

test("of a session that cannot be serialized", async () => {
  const space = newSpace();
  const { store } = await startNode(space);
  const circular: Record<string, unknown> = {};
  circular[SECRET] = { circular };
  const { error, text } = await shownFailure(store.set(SID, sessionOf(circular)));
  expect(error.message).toMatch(
    /^The session [0-9a-f]{16} cannot be serialized: Converting circular structure to JSON$/,
  );
  expect(error).toMatchObject({ code: "ERR_SESSION_SERIALIZE", key: space.prefix + SID });
  expect(error.serializerError).toBeInstanceOf(TypeError);
  expect(text).not.toContain(SID);
  expect(text).not.toContain(SECRET);
});

test("of a command that Redis does not know, whose arguments it repeats", async () => {
  const reply = `ERR unknown command 'EVALSHA', with args beginning with: 'abc' '1' 'sess:${SID}'`;
  const send = () => Promise.reject(new Error(reply));
  const topology = { fullPrefix: "sess:", send };
  const executor = new CommandExecutor(topology as unknown as Topology);
  const command = { name: "EVALSHA", acl: "", target: "any", build: (batch: CommandBatch) => batch } as const;
  const { error, text } = await shownFailure(executor.send(new Deadline(), command));
  expect(error.message).toBe("EVALSHA: ERR unknown command 'EVALSHA'");
  expect(text).not.toContain(SID);
});

test("of a wrong argument", async () => {
  const { store } = await startNode(newSpace());
  await expect(store.get(`${SID}\ud800`)).rejects.toThrow(/^sid: expected (?!.*the-id)/);
  const misplaced = SID as never;
  const got = "got a string";
  await expect(store.set(SID, misplaced)).rejects.toThrow(`session: expected an object, ${got}`);
  await expect(store.touch(SID, misplaced)).rejects.toThrow(`session: expected an object, ${got}`);
  const expected = "a function, or null, undefined or false for none";
  expect(() => store.destroy(SID, misplaced)).toThrow(`callback: expected ${expected}, ${got}`);
  const predicate = "a function of the session and its id";
  await expect(store.destroyWhere(misplaced)).rejects.toThrow(`predicate: expected ${predicate}, ${got}`);
});

test("background work does not run in the context of whoever creates the store", async () => {
  const context = new AsyncLocalStorage<string>();
  const seen: unknown[] = [];
  const url = inject("redisUrl");
  const client = createClient({ url });
  client.on("error", () => {});
  await client.connect();
  const multi = client.multi.bind(client);
  client.multi = () => {
    seen.push(context.getStore());
    return multi();
  };
  const { channel } = newSpace();
  const subscriber = () => {
    seen.push(context.getStore());
    return createClient({ url });
  };
  const cluster = { channel, subscriber, heartbeatMs: 20, leaseMs: 500 };
  const store = context.run("a request", () => new ClusteredRedisStore({ client, cluster }));
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  // A subscriber, and heartbeats.
  await eventually(() => seen.length > 2);
  expect(new Set(seen)).toEqual(new Set([undefined]));
});
