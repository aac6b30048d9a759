import { expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import {
  isOfDestroy,
  newSpace,
  sessionOf,
  setAndReceive,
  startNode,
  valuesOf,
  watchCommands,
} from "../support/node.ts";

test("simultaneous misses of one session share one read", async () => {
  const space = newSpace();
  const { store } = await startNode(space);
  await setAndReceive(store, "s", sessionOf({ v: 1 }));
  store.evictFromCache("s");
  const commands = await watchCommands(space);
  const sessions = await Promise.all(Array.from({ length: 20 }, () => store.get("s")));
  for (const session of sessions) expect(valuesOf(session)).toEqual({ v: 1 });
  await store.destroy("s");
  await eventually(() => commands.includes("DEL"));
  expect(commands.filter((command) => command === "GETRANGE")).toHaveLength(1);
});

test("a hit sends nothing to Redis", async () => {
  const space = newSpace();
  const { store } = await startNode(space);
  const session = sessionOf({ v: 1 });
  await store.set("s", session);
  const commands = await watchCommands(space);
  for (let i = 0; i < 20; i++) {
    await store.get("s");
    await store.touch("s", session);
  }
  await store.destroy("s");
  await eventually(() => commands.includes("DEL"));
  expect(commands.filter((command) => !isOfDestroy(command))).toEqual([]);
});

test("a failed read fails for all who shared it, and the next read is sent again", async () => {
  const { store, data } = await startNode(newSpace(), { readsOnClient: true });
  await store.set("s", sessionOf({ v: 1 }));
  store.evictFromCache("s");
  data.hold("toClient");
  const replied = data.seen("toClient", '"v":1');
  const reads = [store.get("s"), store.get("s")];
  await replied;
  data.cut();
  for (const read of reads) await expect(read).rejects.toMatchObject({ code: "ERR_SESSION_REDIS" });
  data.pass();
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
});
