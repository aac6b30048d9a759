import { expect } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { sessionOf, valuesOf } from "../support/node.ts";

/**
 * Two stores continue as far as they can when Redis accepts no more data: reads, touches, logouts and heartbeats.
 * @param fill has every primary refuse what would take memory
 */
export async function surviveFullMemory(
  a: ClusteredRedisStore,
  b: ClusteredRedisStore,
  fill: () => Promise<unknown>,
): Promise<void> {
  for (const sid of ["one", "other"]) await a.set(sid, sessionOf({ v: 1 }));
  await fill();
  const filledAt = performance.now();
  await expect(a.set("one", sessionOf({ v: 2 }))).rejects.toMatchObject({
    code: "ERR_SESSION_REDIS",
    message: expect.stringContaining("OOM"),
  });
  const provenAt = async (store: ClusteredRedisStore) => {
    const { leaseAgeMs } = await store.health();
    return performance.now() - (leaseAgeMs ?? Number.POSITIVE_INFINITY);
  };
  for (const store of [a, b]) {
    expect(valuesOf(await store.get("one"))).toEqual({ v: 1 });
    await eventually(async () => (await provenAt(store)) > filledAt);
  }
  await a.touch("one", sessionOf({ v: 1 }, 900_000));
  await a.destroy("one");
  await eventually(async () => (await b.get("one")) === null);
  expect(valuesOf(await b.get("other"))).toEqual({ v: 1 });
  await b.clear();
  await eventually(async () => (await a.get("other")) === null);
}
