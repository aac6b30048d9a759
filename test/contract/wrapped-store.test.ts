import { RedisStore as ConnectRedis } from "connect-redis";
import { describe, expect, test } from "vitest";
import { type Callback, ClusteredRedisStore } from "../../lib/index.ts";
import { nextEvent } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import { directClient, newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

/** What applications do with a store besides passing it to express-session. */

test("the options of connect-redis can be read from the store, with the values that it shows", async () => {
  const client = await directClient();
  const ttl = () => 60;
  const serializer = { parse: JSON.parse, stringify: JSON.stringify };
  for (const options of [
    {},
    { prefix: "", ttl: 60, scanCount: 7, disableTouch: true, disableTTL: true },
    { ttl, serializer },
  ]) {
    const store = new ClusteredRedisStore({ client, cluster: false, localCache: false, ...options });
    const theirs = new ConnectRedis({ client, ...options });
    for (const name of [
      "client",
      "prefix",
      "ttl",
      "scanCount",
      "disableTouch",
      "disableTTL",
      "serializer",
    ] as const) {
      expect(store[name], name).toBe(theirs[name]);
    }
    await store.close();
  }
});

const wrappers: Record<string, (store: ClusteredRedisStore) => ClusteredRedisStore> = {
  "a Proxy": (store) => new Proxy(store, {}),
  "an object whose prototype is the store": (store) => Object.create(store) as ClusteredRedisStore,
};

describe.each(Object.entries(wrappers))("%s", (_, wrap) => {
  test("works with all methods and events", async () => {
    const node = await startNode(newSpace());
    const store = wrap(node.store);
    await store.ready();
    const resurrection = nextEvent(store, "resurrection");
    await store.set("s", sessionOf({ v: 1 }));
    expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
    const session = store.createSession({ sessionID: "s" } as never, (await store.get("s")) as never);
    expect(store.evictFromCache("s")).toBe(true);
    await store.touch("s", sessionOf({ v: 1 }, 600_000));
    expect([await store.ids(), await store.length(), (await store.all()).length]).toEqual([["s"], 1, 1]);
    expect(store.cacheStats.hits).toBeGreaterThan(0);
    expect(await store.isHealthy()).toBe(true);
    await store.destroy("s");
    await store.set("s", Object.assign(session, { v: 2 }));
    await resurrection;
    await store.clear();
    await store.close();
    expect(store.clusterStats.state).toBe("off");
  });

  test("serves requests, also with a set of its own", async () => {
    const node = await startNode(newSpace());
    const store = wrap(node.store);
    const saved: string[] = [];
    store.set = ((sid: string, session: never, callback: Callback) => {
      saved.push(sid);
      return ClusteredRedisStore.prototype.set.call(store, sid, session, callback);
    }) as typeof store.set;
    const app = await startApp(store, {}, (express) => {
      express.get("/", (request, response) => {
        request.session.views = (request.session.views ?? 0) + 1;
        response.json(request.session.views);
      });
    });
    const browser = new Browser();
    for (const views of [1, 2, 3]) expect((await browser.fetch(app, "/")).body).toBe(views);
    expect(saved).toHaveLength(3);
  });
});

test("a subclass may override a method", async () => {
  const saved: string[] = [];
  class Recording extends ClusteredRedisStore {
    override set(...args: unknown[]): Promise<void> {
      saved.push(args[0] as string);
      return (super.set as (...args: unknown[]) => Promise<void>)(...args);
    }
  }
  const store = new Recording({
    client: await directClient(),
    prefix: newSpace().prefix,
    cluster: false,
    localCache: false,
  });
  await store.set("s", sessionOf({ v: 1 }));
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  expect(saved).toEqual(["s"]);
  await store.destroy("s");
});
