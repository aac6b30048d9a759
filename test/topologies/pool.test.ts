import { createClient, createClientPool } from "redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { indexBy } from "../support/indexed.ts";
import { directClient, newSpace, sessionOf, valuesOf } from "../support/node.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import * as v5 from "../support/redis-v5.ts";
import { useEverything, useIndex, useMerge } from "./contract.ts";
import { openPast, openTwo } from "./kill.ts";
import { Load } from "./load.ts";
import { type AnyClient, openStore } from "./stores.ts";

/** Not the shared one: tests that watch its commands would receive the whole load. */
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

const several = { minimum: 6, maximum: 6 };
const cluster = { subscriber: () => createClient({ url: redis.url }) };

const pools: Record<string, () => AnyClient> = {
  "node-redis 6": () => createClientPool({ url: redis.url }, several) as unknown as AnyClient,
  "node-redis 5": () => v5.createClientPool({ url: redis.url }, several) as unknown as AnyClient,
};

for (const [name, create] of Object.entries(pools)) {
  test(`a pool of ${name}: works throughout, and with another store`, async () => {
    const space = newSpace();
    const [{ store: a }, { store: b }] = [
      await openStore(create, space, { cluster }),
      await openStore(create, space, { cluster }),
    ];
    await useEverything(a, b);
  });

  test(`a pool of ${name}: replies of several connections come in any order, and nothing stale is cached`, async () => {
    const nodes = await openTwo(create, newSpace(), { cluster });
    const load = new Load([nodes.a, nodes.b]);
    await eventually(() => load.succeeded > 20_000);
    const past = await openPast(create, nodes, { cluster });
    const direct = async (sid: string) => valuesOf(await past.get(sid))?.["number"] as number | undefined;
    const { failed, lostWrites } = await load.stop(direct);
    expect({ failed, lostWrites }).toEqual({ failed: 0, lostWrites: 0 });
    for (const sid of load.sids) {
      const number = await direct(sid);
      for (const store of [nodes.a, nodes.b]) {
        await eventually(async () => valuesOf(await store.get(sid))?.["number"] === number);
      }
    }
  });
}

test.each(["3", "0"])("a pool: expired events come from its database, here %s", async (database) => {
  for (const createPool of [createClientPool, v5.createClientPool as unknown as typeof createClientPool]) {
    const space = newSpace();
    const direct = await directClient({ url: redis.url, database: Number(database) });
    await direct.configSet("notify-keyspace-events", "Ex");
    const create = () => createPool({ url: redis.url, database: Number(database) }) as unknown as AnyClient;
    const { store } = await openStore(create, space, { cluster: { ...cluster, expiredEvents: true } });
    const expired = nextEvent(store, "expired");
    await store.set("s", sessionOf({}, 300));
    expect(await expired).toEqual(["s"]);
  }
});

test("a pool: merging, too", async () => {
  const space = newSpace();
  const create = pools["node-redis 6"] as () => AnyClient;
  const options = { cluster, onConflict: "merge" } as const;
  await useMerge(
    (await openStore(create, space, options)).store,
    (await openStore(create, space, options)).store,
  );
});

test("a pool: the sessions of a user are found and deleted", async () => {
  const space = newSpace();
  const create = pools["node-redis 6"] as () => AnyClient;
  await useIndex(
    (await openStore(create, space, { cluster, indexBy })).store,
    (await openStore(create, space, { cluster, indexBy })).store,
  );
});
