import { createClientPool, createSentinel, type RedisClientOptions } from "redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import type { CommandBatch, RedisStoreClient } from "../../lib/redis/client.ts";
import { Deadline } from "../../lib/redis/deadlines.ts";
import { topologyOf } from "../../lib/redis/topology-of.ts";
import { WriteGroups } from "../../lib/redis/write-groups.ts";
import { eventually } from "../support/eventually.ts";
import {
  type Client,
  cacheIn,
  directClient,
  LONG_LEASE,
  loadAsRequest,
  type Node,
  newSpace,
  ownRedis,
  recordEvents,
  sessionOf,
  startNode,
  valuesOf,
  whenLive,
} from "../support/node.ts";
import { startCluster } from "../support/redis/cluster.ts";
import { startSentinels } from "../support/redis/sentinel.ts";

const SIDS = ["a", "b", "c", "d", "e"];

/** How often Redis has executed a command. */
async function counterOf(client: Client): Promise<(command: string) => Promise<number>> {
  await client.configResetStat();
  return async (command) => {
    const stats = await client.info("commandstats");
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  };
}

/** Two processes with a Redis of their own; both cache all of `SIDS`, with the version 0. */
async function startTwo(client: RedisClientOptions = {}): Promise<{ a: Node; b: Node; direct: Client }> {
  const { url } = await ownRedis();
  const space = newSpace();
  const [a, b] = [await startNode(space, { url, client }), await startNode(space, { url })];
  for (const sid of SIDS) await a.store.set(sid, sessionOf({ v: 0 }));
  await cache(b.store);
  return { a, b, direct: await directClient({ url }) };
}

async function cache(store: ClusteredRedisStore): Promise<void> {
  for (const sid of SIDS) await cacheIn(store, sid);
}

const setAll = (store: ClusteredRedisStore, v: number, sids: readonly string[] = SIDS) =>
  Promise.allSettled(sids.map((sid) => store.set(sid, sessionOf({ v }))));

const statuses = (outcomes: readonly PromiseSettledResult<unknown>[]) => outcomes.map(({ status }) => status);

async function versions(store: ClusteredRedisStore, sids: readonly string[] = SIDS): Promise<unknown[]> {
  return Promise.all(sids.map(async (sid) => valuesOf(await store.get(sid))?.["v"]));
}

test("writes of one turn share a transaction, and each is published on its session's channel", async () => {
  const { a, b, direct } = await startTwo();
  const calls = await counterOf(direct);
  const events = recordEvents(b.store, ["invalidate"]);
  expect(statuses(await setAll(a.store, 1))).toEqual(SIDS.map(() => "fulfilled"));
  expect([await calls("set"), await calls("exec")]).toEqual([SIDS.length, 2]);
  await eventually(() => events.length === SIDS.length);
  expect(events.map(({ args: [sid] }) => sid).sort()).toEqual(SIDS);
  expect(await versions(b.store)).toEqual(SIDS.map(() => 1));
  // Read from memory.
  const { hits } = a.store.cacheStats;
  expect(await versions(a.store)).toEqual(SIDS.map(() => 1));
  expect(a.store.cacheStats.hits).toBe(hits + SIDS.length);
});

test("a write that is alone in its turn is a transaction of its own", async () => {
  const { a, direct } = await startTwo();
  const calls = await counterOf(direct);
  for (const sid of SIDS) await a.store.set(sid, sessionOf({ v: 1 }));
  expect(await calls("exec")).toBe(SIDS.length);
});

test("after a turn with several writes, the first of the next one is sent together with the others", async () => {
  const { a, direct } = await startTwo();
  const calls = await counterOf(direct);
  await setAll(a.store, 1);
  await setAll(a.store, 2);
  expect([await calls("set"), await calls("exec")]).toEqual([2 * SIDS.length, 3]);
  await a.store.set("a", sessionOf({ v: 3 }));
  await a.store.set("a", sessionOf({ v: 4 }));
  expect(await calls("exec")).toBe(5);
  expect(await versions(a.store)).toEqual([4, 2, 2, 2, 2]);
});

test("writes of one session take effect in the order of their calls, among those of others", async () => {
  const { a, b } = await startTwo();
  const writes = [1, 2, 3].map((v) => setAll(a.store, v));
  for (const outcomes of await Promise.all(writes)) expect(statuses(outcomes)).not.toContain("rejected");
  expect(await versions(a.store)).toEqual(SIDS.map(() => 3));
  await eventually(async () => (await versions(b.store)).every((v) => v === 3));
});

test("an update of a session that was deleted is refused, and the other members are written", async () => {
  const { a, direct } = await startTwo();
  const events = recordEvents(a.store, ["resurrection"]);
  const sessions = await Promise.all(SIDS.map((sid) => loadAsRequest(a.store, sid)));
  await direct.del(`${a.store.prefix}c`);
  for (const session of sessions) Object.assign(session, { v: 1 });
  await Promise.all(sessions.map((session, i) => a.store.set(SIDS[i] as string, session)));
  expect(events).toEqual([{ name: "resurrection", args: ["c"] }]);
  expect(await versions(a.store)).toEqual([1, 1, undefined, 1, 1]);
  expect(await direct.exists(`${a.store.prefix}c`)).toBe(0);
});

test("touches, deletions and changes of the index in the same turn have outcomes of their own", async () => {
  const { url } = await ownRedis();
  const store = { indexBy: (session: object) => (session as { user?: string }).user };
  const { store: a } = await startNode(newSpace(), { url, store });
  for (const sid of SIDS) await a.set(sid, sessionOf({ v: 0 }));
  const direct = await directClient({ url });
  await direct.set(`${a.prefix}broken`, "no JSON");
  const outcomes = await Promise.allSettled([
    a.set("a", sessionOf({ v: 1 })),
    a.set("b", sessionOf({ v: 1, user: "u" })),
    a.touch("c", sessionOf({ v: 0 }, 3_600_000)),
    a.touch("nobody", sessionOf({}, 3_600_000)),
    a.get("broken"),
    a.destroy("d"),
    a.set("e", sessionOf({ v: 1 })),
  ]);
  expect(statuses(outcomes)).toEqual(
    [..."ffff"].map(() => "fulfilled").concat("rejected", "fulfilled", "fulfilled"),
  );
  expect(await versions(a)).toEqual([1, 1, 0, undefined, 1]);
  expect((await a.sessionsOf("u")).map(({ sid }) => sid)).toEqual(["b"]);
  expect(await direct.pTTL(`${a.prefix}c`)).toBeGreaterThan(60_000);
});

test("what Redis refuses for one member's key does not concern the others", async () => {
  const { url } = await ownRedis();
  const direct = await directClient({ url });
  const space = newSpace();
  const keys = SIDS.flatMap((sid) => (sid === "c" ? [] : [`~${space.prefix}${sid}`]));
  const rule = ["on", ">secret", "+@all", "&*", ...keys, `~${space.prefix}????????-*`];
  await direct.sendCommand(["ACL", "SETUSER", "narrow", ...rule]);
  const { store } = await startNode(space, { url, client: { username: "narrow", password: "secret" } });
  const outcomes = await setAll(store, 1);
  expect(statuses(outcomes)).toEqual(["fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled"]);
  expect((outcomes[2] as PromiseRejectedResult).reason).toMatchObject({
    code: "ERR_SESSION_REDIS",
    message: expect.stringContaining("NOPERM"),
  });
  expect(await direct.exists(`${space.prefix}c`)).toBe(0);
});

test("while the memory of Redis is full, each write fails, and a logout in the same turn succeeds", async () => {
  const { a, b, direct } = await startTwo();
  await direct.configSet("maxmemory", "1");
  const logout = a.store.destroy("c");
  const outcomes = await setAll(a.store, 1, ["a", "b", "d", "e"]);
  await logout;
  await direct.configSet("maxmemory", "0");
  for (const outcome of outcomes) {
    const message = expect.stringContaining("OOM");
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ERR_SESSION_REDIS", message } });
  }
  await eventually(async () => (await b.store.get("c")) === null);
  expect(await versions(a.store)).toEqual([0, 0, undefined, 0, 0]);
});

test("when the connection is lost, the outcome of all is unknown, and none is sent again", async () => {
  const { a, b, direct } = await startTwo();
  a.data.hold("toClient");
  const executed = eventually(async () => (await direct.get(`${a.store.prefix}e`))?.includes('"v":1'));
  const writing = setAll(a.store, 1);
  await executed;
  const calls = await counterOf(direct);
  await setAll(b.store, 2);
  a.data.cut();
  for (const outcome of await writing) {
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "ERR_SESSION_REDIS" } });
  }
  a.data.pass();
  expect(await versions(a.store)).toEqual(SIDS.map(() => 2));
  expect(await calls("set")).toBe(SIDS.length);
});

test("a group that arrives in part is not executed in part", async () => {
  const { a, b, direct } = await startTwo();
  const events = recordEvents(b.store, ["invalidate"]);
  const text = "x".repeat(20_000);
  // Within the third member of the group.
  a.data.cutAfter("toServer", 70_000);
  const writes = SIDS.map((sid) => a.store.set(sid, sessionOf({ v: 1, text })));
  const [, ...group] = statuses(await Promise.allSettled(writes));
  expect(group).toEqual(["rejected", "rejected", "rejected", "rejected"]);
  const stored = await Promise.all(SIDS.slice(1).map((sid) => direct.get(`${a.store.prefix}${sid}`)));
  for (const value of stored) expect(value).toContain('"v":0');
  await b.store.set("last", sessionOf());
  expect(events.filter(({ args: [sid] }) => sid !== "a")).toEqual([]);
});

test("a group is bounded in commands and in bytes", async () => {
  const { a, direct } = await startTwo();
  const sids = Array.from({ length: 200 }, (_, i) => `many-${i}`);
  await setAll(a.store, 0, sids);
  let calls = await counterOf(direct);
  await setAll(a.store, 1, sids);
  // More, if some are written in a later turn, once they are subscribed.
  const transactions = await calls("exec");
  expect(transactions).toBeGreaterThanOrEqual(Math.ceil(200 / 64));
  expect(transactions).toBeLessThan(20);
  calls = await counterOf(direct);
  const text = "x".repeat(200 * 1024);
  await Promise.all(SIDS.map((sid) => a.store.set(sid, sessionOf({ text }))));
  expect(await calls("exec")).toBe(SIDS.length);
});

test("a client of one server, at a Cluster of one primary: what shares no slot is not refused as a group", async () => {
  const redis = await startCluster({ primaries: 1 });
  onTestFinished(() => redis.stop());
  const [primary] = await redis.primaries();
  const { store } = await startNode(newSpace(), { url: primary?.url as string });
  for (const v of [1, 2, 3]) {
    expect(statuses(await setAll(store, v))).toEqual(SIDS.map(() => "fulfilled"));
    expect(await versions(store)).toEqual(SIDS.map(() => v));
  }
});

test("a pool's client sends groups, too", async () => {
  const { url } = await ownRedis();
  const client = createClientPool({ url }, { minimum: 2, maximum: 4 });
  await client.connect();
  const { prefix, channel } = newSpace();
  const cluster = { channel, subscriber: await directClient({ url }), ...LONG_LEASE };
  const store = new ClusteredRedisStore({ client, prefix, cluster });
  onTestFinished(async () => {
    await store.close();
    client.destroy();
  });
  await whenLive(store);
  await setAll(store, 0);
  const calls = await counterOf(await directClient({ url }));
  expect(statuses(await setAll(store, 1))).not.toContain("rejected");
  expect(await calls("exec")).toBeLessThanOrEqual(2);
  expect(await versions(store)).toEqual(SIDS.map(() => 1));
});

test("a Sentinel client sends groups, too", async () => {
  const sentinels = await startSentinels();
  onTestFinished(() => sentinels.stop());
  const { name, sentinelRootNodes } = sentinels;
  const create = () => createSentinel({ name, sentinelRootNodes });
  const client = create();
  client.on("error", () => {});
  await client.connect();
  onTestFinished(() => client.destroy());
  const { prefix, channel } = newSpace();
  // That of node-redis 5 cannot be duplicated for the subscription.
  const store = new ClusteredRedisStore({ client, prefix, cluster: { channel, subscriber: create } });
  onTestFinished(() => store.close());
  await whenLive(store);
  await setAll(store, 0);
  const { host, port } = client.getMasterNode() as { host: string; port: number };
  const calls = await counterOf(await directClient({ url: `redis://${host}:${port}` }));
  expect(statuses(await setAll(store, 1))).not.toContain("rejected");
  expect(await calls("exec")).toBeLessThanOrEqual(2);
  expect(await versions(store)).toEqual(SIDS.map(() => 1));
});

describe("a member whose deadline passes", () => {
  /** Writes all of `SIDS` in one turn. @param onBuild called when the commands of a member are added */
  async function writeAll(onBuild: (sid: string, deadline: Deadline) => void) {
    const space = newSpace();
    const direct = await directClient();
    const received: string[] = [];
    await (await directClient()).subscribe(space.channel, (message) => void received.push(message));
    const topology = topologyOf({
      client: direct as unknown as RedisStoreClient,
      prefix: space.prefix,
      cluster: undefined,
    });
    const groups = new WriteGroups(topology);
    const outcomes = await Promise.allSettled(
      SIDS.map((sid) => {
        const deadline = new Deadline();
        const options = { expiration: { type: "PX", value: 60_000 } } as const;
        return new Promise<readonly unknown[]>((onReplies, onError) => {
          const build = (batch: CommandBatch) => {
            onBuild(sid, deadline);
            return batch.set(space.prefix + sid, "text", options).publish(space.channel, sid);
          };
          groups.send({ deadline, build, bytes: 4, onReplies, onError });
        });
      }),
    );
    const written = await Promise.all(SIDS.map((sid) => direct.exists(space.prefix + sid)));
    // Behind all messages of the group.
    await direct.publish(space.channel, "end");
    await eventually(() => received.includes("end"));
    return { outcomes, written, received };
  }

  test.each(["b", "c", "e"])("before it is sent changes nothing and publishes nothing (%s)", async (late) => {
    const { outcomes, written, received } = await writeAll((sid, deadline) => {
      // Between the end of the turn and node-redis's writing.
      if (sid === late) queueMicrotask(() => deadline.pass());
    });
    const others = SIDS.filter((sid) => sid !== late);
    expect(statuses(outcomes)).toEqual(SIDS.map((sid) => (sid === late ? "rejected" : "fulfilled")));
    expect(written).toEqual(SIDS.map((sid) => (sid === late ? 0 : 1)));
    expect(received).toEqual([...others, "end"]);
    for (const outcome of outcomes) {
      if (outcome.status === "fulfilled") expect(outcome.value).toEqual(["OK", 1]);
    }
  });

  test("after it is sent is executed as a whole", async () => {
    const { written, received } = await writeAll((sid, deadline) => {
      // A member's commands are added when immediates run, so this runs after node-redis's writing.
      if (sid !== "a") setImmediate(() => deadline.pass());
    });
    expect(written).toEqual(SIDS.map(() => 1));
    expect(received).toEqual([...SIDS, "end"]);
  });

  test("together with all others, leaves nothing to be sent", async () => {
    const { outcomes, written, received } = await writeAll((sid, deadline) => {
      if (sid !== "a") deadline.pass();
    });
    expect(statuses(outcomes)).toEqual(["fulfilled", ...SIDS.slice(1).map(() => "rejected")]);
    expect(written).toEqual([1, 0, 0, 0, 0]);
    expect(received).toEqual(["a", "end"]);
  });
});
