import type { SessionData } from "express-session";
import { expect, test } from "vitest";
import type { ConflictingValues } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import {
  directClient,
  loadAsRequest,
  newSpace,
  ownRedis,
  sessionOf,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

const MERGE = { onConflict: "merge" } as const;

test("changes of two requests to different keys are both kept, on whatever node, and the objects stay as they were", async () => {
  const space = newSpace();
  const a = await startNode(space, { store: MERGE });
  const b = await startNode(space, { store: MERGE });
  await a.store.set("s", sessionOf({ kept: 1, gone: 1 }));
  const [mine, theirs] = [await loadAsRequest(a.store, "s"), await loadAsRequest(b.store, "s")];
  Object.assign(mine, { mine: 1 });
  Object.assign(theirs, { theirs: 1 });
  delete theirs["gone"];
  await b.store.set("s", theirs);
  await a.store.set("s", mine);
  expect(valuesOf(mine)).toEqual({ kept: 1, gone: 1, mine: 1 });
  for (const [{ store }, messages] of [
    [a, 3],
    [b, 2],
  ] as const) {
    await eventually(() => store.clusterStats.messagesReceived === messages);
    expect(valuesOf(await store.get("s"))).toEqual({ kept: 1, mine: 1, theirs: 1 });
  }
  expect(a.store.clusterStats.conflicts).toBe(1);
});

test("a request that saves again after it was merged loses nothing of the others'", async () => {
  const { store } = await startNode(newSpace(), { store: MERGE });
  await store.set("s", sessionOf({}));
  const [mine, theirs] = [await loadAsRequest(store, "s"), await loadAsRequest(store, "s")];
  await store.set("s", Object.assign(theirs, { theirs: 1 }));
  await store.set("s", Object.assign(mine, { mine: 1 }));
  await store.set("s", Object.assign(mine, { mine: 2, more: 1 }));
  expect(valuesOf(await store.get("s"))).toEqual({ theirs: 1, mine: 2, more: 1 });
  delete mine["more"];
  await store.set("s", Object.assign(theirs, { theirs: 2 }));
  await store.set("s", mine);
  expect(valuesOf(await store.get("s"))).toEqual({ theirs: 2, mine: 2 });
});

test("a key that both changed is the later writer's, or resolveConflict's", async () => {
  for (const [resolveConflict, expected] of [
    [undefined, 10],
    [
      (_key: string, { base, theirs, mine }: ConflictingValues) =>
        Number(theirs) + Number(mine) - Number(base),
      15,
    ],
  ] as const) {
    const { store } = await startNode(newSpace(), { store: { ...MERGE, resolveConflict } });
    await store.set("s", sessionOf({ n: 0 }));
    const [mine, theirs] = [await loadAsRequest(store, "s"), await loadAsRequest(store, "s")];
    await store.set("s", Object.assign(theirs, { n: 5 }));
    await store.set("s", Object.assign(mine, { n: 10 }));
    expect(valuesOf(await store.get("s"))).toEqual({ n: expected });
  }
});

test("without a conflict a save is one command, with one it is two", async () => {
  const space = newSpace();
  const { store } = await startNode(space, { store: MERGE });
  await store.set("s", sessionOf({}));
  // Redis keeps the script from the first use on.
  await store.set("s", Object.assign(await loadAsRequest(store, "s"), { first: 1 }));
  const commands = await watchCommands(space);
  const [mine, theirs] = [await loadAsRequest(store, "s"), await loadAsRequest(store, "s")];
  const saves = () => commands.filter((command) => command === "EVALSHA").length;
  await store.set("s", Object.assign(theirs, { theirs: 1 }));
  await eventually(() => saves() === 1);
  await store.set("s", Object.assign(mine, { mine: 1 }));
  await eventually(() => saves() === 3);
  await store.set("s", Object.assign(mine, { mine: 2 }));
  await eventually(() => saves() === 4);
  expect(commands.filter((command) => command === "EVAL")).toEqual([]);
});

test("a script that Redis no longer has is sent again", async () => {
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  const { store } = await startNode(newSpace(), { url, store: MERGE });
  await store.set("s", sessionOf({}));
  await direct.sendCommand(["SCRIPT", "FLUSH"]);
  await store.set("s", Object.assign(await loadAsRequest(store, "s"), { v: 1 }));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
});

test("a touch between load and save is no conflict, and the merged session has its own end", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { ...MERGE, touchAfterMs: 0 } });
  await store.set("s", sessionOf({}));
  const mine = await loadAsRequest(store, "s");
  await store.touch("s", sessionOf({}, 600_000));
  await store.set("s", Object.assign(mine, { mine: 1 }));
  expect(store.clusterStats.conflicts).toBe(0);
  expect(await direct.pTTL(`${space.prefix}s`)).toBeLessThanOrEqual(60_000);
});

test("a loaded session is merged with what a plain set, or connect-redis, wrote meanwhile", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: MERGE });
  await store.set("s", sessionOf({}));
  const mine = await loadAsRequest(store, "s");
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ theirs: 1 })));
  await store.set("s", Object.assign(mine, { mine: 1 }));
  expect(valuesOf(await store.get("s"))).toEqual({ theirs: 1, mine: 1 });
});

test("many writers at once lose nothing", async () => {
  const space = newSpace();
  const nodes = await Promise.all([startNode(space, { store: MERGE }), startNode(space, { store: MERGE })]);
  const [a, b] = nodes as [(typeof nodes)[0], (typeof nodes)[0]];
  await a.store.set("s", sessionOf({}));
  const writers = Array.from({ length: 20 }, (_, i) => (i % 2 ? a.store : b.store));
  const sessions = await Promise.all(writers.map((store) => loadAsRequest(store, "s")));
  await Promise.all(
    writers.map((store, i) =>
      store.set("s", Object.assign(sessions[i] as object, { [`key${i}`]: i }) as SessionData),
    ),
  );
  a.store.evictFromCache("s");
  expect(valuesOf(await a.store.get("s"))).toEqual(Object.fromEntries(writers.map((_, i) => [`key${i}`, i])));
});

test("a writer that never pauses leads to a clear error, not to an endless loop", async () => {
  const space = newSpace();
  const direct = await directClient();
  let writes = 0;
  const resolveConflict = () => {
    throw new Error("never asked: only one side changes this key");
  };
  const serializer = {
    stringify: JSON.stringify,
    parse: async (text: string) => {
      const session = JSON.parse(text);
      // Each time the conflict is about to be resolved there is a new one.
      if (writes > 0) await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ writes: ++writes })));
      return session;
    },
  };
  const { store } = await startNode(space, { store: { ...MERGE, resolveConflict, serializer } });
  await store.set("s", sessionOf({}));
  const mine = await loadAsRequest(store, "s");
  await direct.set(`${space.prefix}s`, JSON.stringify(sessionOf({ writes: ++writes })));
  await expect(store.set("s", Object.assign(mine, { mine: 1 }))).rejects.toMatchObject({
    code: "ERR_SESSION_CONFLICT",
    message: expect.stringMatching(/^The session [0-9a-f]{16} was written by others 32 times in a row$/),
    key: `${space.prefix}s`,
  });
  writes = 0;
  expect(valuesOf(await store.get("s"))).not.toHaveProperty("mine");
});

test("a resolveConflict that throws is the save's error, and nothing is written", async () => {
  const resolveConflict = () => {
    throw new Error("cannot decide");
  };
  const { store } = await startNode(newSpace(), { store: { ...MERGE, resolveConflict } });
  await store.set("s", sessionOf({ n: 0 }));
  const [mine, theirs] = [await loadAsRequest(store, "s"), await loadAsRequest(store, "s")];
  await store.set("s", Object.assign(theirs, { n: 1 }));
  await expect(store.set("s", Object.assign(mine, { n: 2 }))).rejects.toThrow("cannot decide");
  expect(valuesOf(await store.get("s"))).toEqual({ n: 1 });
});

test("by default the later save overwrites, as with connect-redis", async () => {
  const { store } = await startNode(newSpace());
  await store.set("s", sessionOf({}));
  const [mine, theirs] = [await loadAsRequest(store, "s"), await loadAsRequest(store, "s")];
  await store.set("s", Object.assign(theirs, { theirs: 1 }));
  await store.set("s", Object.assign(mine, { mine: 1 }));
  expect(valuesOf(await store.get("s"))).toEqual({ mine: 1 });
});
