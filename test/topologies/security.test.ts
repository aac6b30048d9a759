import { randomUUID } from "node:crypto";
import { createClient, createCluster, createSentinel } from "redis";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { indexBy } from "../support/indexed.ts";
import { newSpace, recordEvents, refusalWhenReady, type Space, sessionOf } from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { startSentinels } from "../support/redis/sentinel.ts";
import { startTlsRedis, type TlsRedis } from "../support/redis/tls.ts";
import { useEverything, useIndex, useMerge } from "./contract.ts";
import { type AnyClient, openStore, type StoreOptions } from "./stores.ts";

let redis: TlsRedis;
let admin: ReturnType<typeof createClient>;
beforeAll(async () => {
  redis = await startTlsRedis();
  admin = createClient({ url: redis.plainUrl });
  await admin.connect();
});
afterAll(async () => {
  admin?.destroy();
  await redis?.stop();
});

/** The rule of the guides "Topologies" and "Errors": whatever is taken away from it is missed. */
const RULE =
  "+getrange +get +pttl +set +del +scan +evalsha +eval +pexpire +multi +exec +publish +subscribe +unsubscribe +client|info".split(
    " ",
  );
const FOR_INDEX = "+time +zadd +zscore +zrange +zrangebyscore +zrevrange +zrem +pexpireat +persist".split(
  " ",
);
const IN_CLUSTER = "+cluster|slots +cluster|info +spublish +ssubscribe +sunsubscribe +ping".split(" ");

function placesOf(space: Space): string[] {
  return ["resetkeys", `~${space.prefix}*`, "resetchannels", `&${space.channel}*`];
}

/** A user with these permissions and no others. */
async function newUser(
  rights: readonly string[],
  run = (args: string[]) => admin.sendCommand(args) as Promise<unknown>,
) {
  const user = { username: `user-${randomUUID()}`, password: randomUUID() };
  await run(["ACL", "SETUSER", user.username, "reset", "on", `>${user.password}`, ...rights]);
  return user;
}

function openWith(user: { username: string; password: string }, space: Space, options: StoreOptions = {}) {
  const socket = { tls: true as const, ca: redis.ca };
  return openStore(() => createClient({ url: redis.tlsUrl, ...user, socket }) as AnyClient, space, options);
}

test("TLS with a private authority, a user, a password and the smallest rule: everything works", async () => {
  const space = newSpace();
  const user = await newUser([...RULE, ...placesOf(space)]);
  const [{ store: a }, { store: b }] = [await openWith(user, space), await openWith(user, space)];
  await useEverything(a, b);
});

test("indexBy needs its keys and the commands of sorted sets besides", async () => {
  const space = newSpace();
  const user = await newUser([...RULE, ...FOR_INDEX, ...placesOf(space), `~idx:{${space.prefix}*`]);
  const options = { indexBy };
  await useIndex((await openWith(user, space, options)).store, (await openWith(user, space, options)).store);
});

test("tracking needs +client|tracking besides", async () => {
  const space = newSpace();
  const rule = [...RULE, ...placesOf(space)];
  const options = { cluster: { tracking: true } };
  for (const [rights, tracking] of [
    [rule, false],
    [[...rule, "+client|tracking"], true],
  ] as const) {
    const { store } = await openWith(await newUser(rights), space, options);
    expect(await store.health()).toMatchObject({ tracking, subscribed: true });
  }
});

test("merging needs nothing besides", async () => {
  const space = newSpace();
  const user = await newUser([...RULE, ...placesOf(space)]);
  const options = { onConflict: "merge" } as const;
  await useMerge((await openWith(user, space, options)).store, (await openWith(user, space, options)).store);
});

test("a certificate of an unknown authority is rejected, and ready() says so", async () => {
  const client = createClient({ url: redis.tlsUrl, socket: { tls: true } });
  client.on("error", () => {});
  client.connect().catch(() => {});
  const store = new ClusteredRedisStore({ client, cluster: { subscribeTimeoutMs: 500 } });
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  await refusalWhenReady(store, /self-signed certificate in certificate chain/);
});

test("Cluster: the same rule with the commands of a Cluster and of its channels, on every node", async () => {
  const cluster = await startCluster();
  onTestFinished(() => cluster.stop());
  const space = newSpace();
  const rights = [...RULE, ...IN_CLUSTER, ...placesOf(space)];
  const defaults = await newUser(rights, (args) =>
    Promise.all(cluster.nodes.map((node) => node.run(...args))),
  );
  const create = () => createCluster({ rootNodes: cluster.rootNodes, defaults }) as AnyClient;
  const [{ store: a }, { store: b }] = [await openStore(create, space), await openStore(create, space)];
  await useEverything(a, b);
});

test("Sentinel: the same rule", async () => {
  const sentinels = await startSentinels();
  onTestFinished(() => sentinels.stop());
  const space = newSpace();
  const rights = [...RULE, ...placesOf(space)];
  const nodeClientOptions = await newUser(rights, (args) =>
    Promise.all(sentinels.servers.map((server) => sentinels.run(server, ...args))),
  );
  const { name, sentinelRootNodes } = sentinels;
  const create = () => createSentinel({ name, sentinelRootNodes, nodeClientOptions }) as AnyClient;
  const [{ store: a }, { store: b }] = [await openStore(create, space), await openStore(create, space)];
  await useEverything(a, b);
});

async function refusedWhenReady(store: ClusteredRedisStore): Promise<void> {
  throw await refusalWhenReady(store, /NOPERM/);
}

/** What each permission is for, and how the error names it. */
const missed: Record<string, { when: (store: ClusteredRedisStore) => Promise<unknown>; says: RegExp }> = {
  "+getrange": {
    when: (store) => store.get("s"),
    says: /^GETRANGE: NOPERM .*\(needed: \+getrange \+pttl ~/,
  },
  "+pttl": { when: (store) => store.get("s"), says: /^GETRANGE: NOPERM .*\(needed: \+getrange \+pttl ~/ },
  "+set": {
    when: (store) => store.set("s", sessionOf()),
    says: /^SET: NOPERM .*\(needed: \+set \+multi \+exec ~\S+ \+publish &/,
  },
  "+pexpire": {
    when: (store) => store.touch("s", sessionOf({}, 900_000)),
    says: /^EVALSHA: .*\(needed: \+evalsha \+eval \+pttl \+pexpire ~/,
  },
  "+evalsha": {
    when: (store) => store.touch("s", sessionOf({}, 900_000)),
    says: /^EVALSHA: NOPERM .*'evalsha'.*\(needed: \+evalsha \+eval/,
  },
  "+eval": {
    when: (store) => store.touch("s", sessionOf({}, 900_000)),
    says: /^EVALSHA: NOPERM .*'eval'.*\(needed: \+evalsha \+eval/,
  },
  "+del": {
    when: (store) => store.destroy("s"),
    says: /^EVALSHA: .*\(needed: \+evalsha \+eval \+del ~/,
  },
  "+scan": { when: (store) => store.ids(), says: /^SCAN: NOPERM .*\(needed: \+scan/ },
  "+multi": {
    when: (store) => store.set("s", sessionOf()),
    says: /^SET: NOPERM .*\(needed: \+set \+multi \+exec ~/,
  },
  "+exec": {
    when: (store) => store.set("s", sessionOf()),
    says: /^SET: .*NOPERM .*'exec'.*\(needed: \+set \+multi \+exec ~/,
  },
  "+publish": {
    when: (store) => store.set("s", sessionOf()),
    says: /^SET: NOPERM .*'publish'.*\(needed: .*\+publish &/,
  },
  "+subscribe": {
    when: refusedWhenReady,
    says: /Cannot subscribe: NOPERM .*'subscribe'.*\(needed: \+subscribe &/,
  },
  "+unsubscribe": {
    when: refusedWhenReady,
    says: /Cannot subscribe: NOPERM .*'unsubscribe'.*\(needed: \+subscribe &\S+ \+unsubscribe\)/,
  },
  "the prefix": {
    when: (store) => store.set("s", sessionOf()),
    says: /^SET: NOPERM .*key.*\(needed: \+set .*~/,
  },
  "the channel": {
    when: (store) => store.set("s", sessionOf()),
    says: /^SET: NOPERM .*channel.*\(needed: .*&/,
  },
};

for (const [right, { when, says }] of Object.entries(missed)) {
  test(`without ${right} there is an error that names it`, async () => {
    const space = newSpace();
    const { prefix, channel } = space;
    await admin.set(`${prefix}s`, JSON.stringify(sessionOf({ v: 1 })));
    await admin.sendCommand(["SCRIPT", "FLUSH"]);
    const places =
      { "the prefix": [`&${channel}*`], "the channel": [`~${prefix}*`] }[right] ?? placesOf(space);
    const user = await newUser([...RULE.filter((other) => other !== right), ...places]);
    const socket = { tls: true as const, ca: redis.ca };
    const client = createClient({ url: redis.tlsUrl, ...user, socket });
    client.on("error", () => {});
    await client.connect();
    const cluster = { channel, subscribeTimeoutMs: 1_000 };
    const store = new ClusteredRedisStore({ client, prefix, cluster, touchAfterMs: 0 });
    onTestFinished(async () => {
      await store.close();
      client.destroy();
    });
    const events = recordEvents(store, ["clusterError"]);
    // A touch that fails is reported by the event only.
    const outcome = await when(store).then(
      () => eventually(() => events.find(({ args }) => says.test(String((args[0] as Error).message)))),
      (error: Error) => error,
    );
    expect(String((outcome as Error).message ?? "is an event")).toMatch(
      outcome instanceof Error ? says : /event/,
    );
    // Without messages, a subscription, or heartbeats, nothing is cached.
    if (
      ["+publish", "+subscribe", "+unsubscribe", "+del", "+eval", "+evalsha", "the channel"].includes(right)
    ) {
      const denied = /(NOPERM|can't (run|access)) .*\(needed: /;
      await eventually(() => events.some(({ args }) => denied.test(String((args[0] as Error).message))));
      await refusalWhenReady(store, denied);
      await store.get("s");
      await store.get("s");
      expect(store.localCache.size).toBe(0);
      expect(JSON.parse(String(await admin.get(`${prefix}s`)))).toMatchObject({ v: 1 });
    }
  });
}

test("without +getrange health() says that Redis does not answer, and heartbeats and writes continue", async () => {
  const space = newSpace();
  const user = await newUser([...RULE.filter((right) => right !== "+getrange"), ...placesOf(space)]);
  const { store } = await openWith(user, space);
  await store.set("s", sessionOf({ v: 1 }));
  expect(await store.health()).toMatchObject({ redis: false, subscribed: true, cacheSize: 1 });
});

test("merging without +publish writes nothing either: the script checks the permission before its write", async () => {
  const space = newSpace();
  const user = await newUser([...RULE, "+get", ...placesOf(space)]);
  const { store } = await openWith(user, space, { onConflict: "merge" });
  await store.set("s", sessionOf({ v: 1 }));
  const request = store.createSession({ sessionID: "s" } as never, (await store.get("s")) as never);
  await admin.sendCommand(["ACL", "SETUSER", user.username, "-publish"]);
  await expect(store.set("s", Object.assign(request, { v: 2 }))).rejects.toThrow(
    /^EVALSHA: .*\(needed: .*\+publish/,
  );
  expect(JSON.parse(String(await admin.get(`${space.prefix}s`)))).toMatchObject({ v: 1 });
});

test("a touch that may not be published does not let the session expire earlier either", async () => {
  const space = newSpace();
  const user = await newUser([...RULE, ...placesOf(space)]);
  const { store } = await openWith(user, space);
  await store.set("s", sessionOf({}, 900_000));
  const events = recordEvents(store, ["clusterError"]);
  await admin.sendCommand(["ACL", "SETUSER", user.username, "-publish"]);
  await store.touch("s", sessionOf({}, 300_000));
  expect(events.map(({ args }) => String((args[0] as Error).message))).toContainEqual(
    expect.stringMatching(/^EVALSHA: .*\(needed: .*\+publish &/),
  );
  expect(await admin.pTTL(`${space.prefix}s`)).toBeGreaterThan(600_000);
});
