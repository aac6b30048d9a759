import { expect } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually, nextEvent } from "../support/eventually.ts";
import { cacheIn, newSpace, recordEvents, type Space, sessionOf, valuesOf } from "../support/node.ts";
import type { RedisServer } from "../support/redis/server.ts";
import { Load } from "./load.ts";
import { type AnyClient, openStore, type StoreOptions } from "./stores.ts";

export interface TwoStores {
  readonly space: Space;
  readonly a: ClusteredRedisStore;
  readonly b: ClusteredRedisStore;
}

export async function openTwo(
  create: () => AnyClient,
  space: Space,
  options: StoreOptions = {},
): Promise<TwoStores> {
  const { store: a } = await openStore(create, space, options);
  const { store: b } = await openStore(create, space, options);
  return { space, a, b };
}

/** A store that sees the same sessions, past all caches. */
export async function openPast(
  create: () => AnyClient,
  { space }: TwoStores,
  options: StoreOptions = {},
): Promise<ClusteredRedisStore> {
  const apart = { ...space, channel: newSpace().channel };
  return (await openStore(create, apart, { localCache: false, ...options })).store;
}

const WARM = 2_000;

/** kill -9 of a primary while two stores read and write. FIGURES=1 prints how it went. */
export async function surviveKill(
  { a, b }: TwoStores,
  openPast: () => Promise<ClusteredRedisStore>,
  victim: () => Promise<RedisServer>,
): Promise<void> {
  const load = new Load([a, b]);
  await eventually(() => load.succeeded > WARM);
  const events = [a, b].map((store) => recordEvents(store, ["suspect", "flush", "live"]));
  const server = await victim();
  const killedAt = performance.now();
  await server.kill();
  await eventually(() => events.every((seen) => seen.some(({ name }) => name === "suspect")));
  const suspectAt = performance.now();
  const isLiveAgain = () => [a, b].every((store) => store.clusterStats.state === "live");
  await eventually(isLiveAgain);
  const liveAt = performance.now();
  for (const seen of events) {
    expect(seen.map(({ name }) => name)).toEqual(expect.arrayContaining(["suspect", "flush", "live"]));
  }
  const before = load.succeeded;
  await eventually(() => load.succeeded > before + WARM);
  const past = await openPast();
  // The stores are live as soon as their primaries prove it. A server may learn later that all slots are served again, and
  // answers CLUSTERDOWN until then.
  const direct = async (sid: string) => {
    const { session } = await eventually(async () => ({ session: await past.get(sid) }));
    return valuesOf(session)?.["number"] as number | undefined;
  };
  // Resolves only when every call has had its answer.
  const figures = await load.stop(direct);
  print({ ...figures, toSuspectMs: suspectAt - killedAt, toLiveMs: liveAt - killedAt });
  await eventually(isLiveAgain);
  for (const sid of load.sids) {
    const number = await direct(sid);
    for (const store of [a, b, a, b]) {
      await eventually(async () => valuesOf(await store.get(sid))?.["number"] === number);
    }
  }
  await eventually(() => a.set("after", sessionOf({ v: 1 })).then(() => true));
  await cacheIn(b, "after");
  const heard = nextEvent(b, "invalidate");
  await eventually(() => a.set("after", sessionOf({ v: 2 })).then(() => true));
  await heard;
  expect(valuesOf(await b.get("after"))).toEqual({ v: 2 });
}

function print(figures: object): void {
  if (process.env["FIGURES"]) console.info(expect.getState().currentTestName, figures);
}
