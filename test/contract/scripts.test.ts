import { randomUUID } from "node:crypto";
import { createClient } from "redis";
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { Deadlines } from "../../lib/redis/deadlines.ts";
import type { Announcement } from "../../lib/redis/executor.ts";
import { sha1Of } from "../../lib/redis/script.ts";
import { DELETE } from "../../lib/redis/scripts.ts";
import { SessionCommands } from "../../lib/redis/session-commands.ts";
import { topologyOf } from "../../lib/redis/topology-of.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";

const PREFIX = "sess:";
const CHANNEL = "invalidate";
const announcement: Announcement = { channel: CHANNEL, message: "written" };
const index = { to: "ada", from: "bob" };
const deadlines = new Deadlines(5_000);

let redis: RedisServer;
let admin: ReturnType<typeof createClient>;
let subscriber: ReturnType<typeof createClient>;
const messages: string[] = [];

beforeAll(async () => {
  redis = await startRedis({ own: true });
  admin = createClient({ url: redis.url });
  subscriber = admin.duplicate();
  await Promise.all([admin.connect(), subscriber.connect()]);
  await subscriber.subscribe(CHANNEL, (message) => messages.push(message));
});
afterAll(async () => {
  admin?.destroy();
  subscriber?.destroy();
  await redis?.stop();
});

/** Every write that is a script, on a session "s" with the value "old" that belongs to bob. */
const writes: Record<string, { write: string; run: (commands: SessionCommands) => Promise<unknown> }> = {
  SAVE: {
    write: "set",
    run: (commands) =>
      deadlines.run("write", (deadline) =>
        commands.write(
          deadline,
          { sid: "s", value: "new", ttlMs: 60_000, mustExist: true, index },
          announcement,
        ),
      ),
  },
  REPLACE: {
    write: "set",
    run: (commands) =>
      deadlines.run("replace", (deadline) =>
        commands.replace(
          deadline,
          { sid: "s", value: "new", expected: "old", ttlMs: 60_000, index },
          announcement,
        ),
      ),
  },
  TOUCH: {
    write: "pexpire",
    run: (commands) =>
      deadlines.run("touch", (deadline) =>
        commands.touch(deadline, { sid: "s", ttlMs: 60_000, isNews: false }, announcement),
      ),
  },
  TOUCH_UNCHANGED: {
    write: "pexpire",
    run: (commands) =>
      deadlines.run("touch", (deadline) => {
        const touch = { sid: "s", ttlMs: 60_000, isNews: false, index, expectedSha1: sha1Of("old") };
        return commands.touchUnchanged(deadline, touch, announcement);
      }),
  },
  DELETE: {
    write: "del",
    run: (commands) =>
      deadlines.run("delete", (deadline) =>
        commands.delete(deadline, { sids: ["s"], indexValue: "bob" }, announcement),
      ),
  },
  DELETE_UNCHANGED: {
    write: "del",
    run: (commands) =>
      deadlines.run("delete", (deadline) => {
        const sessions = [{ sid: "s", isNamed: true, sha1: sha1Of("old") }];
        const open = { channel: CHANNEL, head: announcement.message, tail: "" };
        return commands.deleteUnchanged(deadline, sessions, "bob", open);
      }),
  },
};

/** Commands of a user with all permissions but some. */
async function commandsWithout(...denied: string[]): Promise<SessionCommands> {
  const username = `user-${randomUUID()}`;
  const rules = ["reset", "on", ">secret", "+@all", "~*", "&*", ...denied];
  await admin.sendCommand(["ACL", "SETUSER", username, ...rules]);
  const client = createClient({ url: redis.url, username, password: "secret" });
  onTestFinished(() => client.destroy());
  await client.connect();
  return new SessionCommands(topologyOf({ client, prefix: PREFIX, cluster: undefined }));
}

/** Everything that the writes change. Messages are counted once one that was sent now has arrived. */
async function state() {
  const [text, ttlMs] = [await admin.get(`${PREFIX}s`), await admin.pTTL(`${PREFIX}s`)];
  const topology = topologyOf({ client: admin, prefix: PREFIX, cluster: undefined });
  const { index: indexCommands } = new SessionCommands(topology);
  const list = async (value: string) => {
    const entries = await deadlines.run("list", (deadline) => indexCommands.list(deadline, value));
    return entries.map(({ sid }) => sid);
  };
  const mark = randomUUID();
  await admin.publish(CHANNEL, mark);
  while (messages.at(-1) !== mark) await new Promise(setImmediate);
  const published = messages.filter((message) => message.startsWith(announcement.message)).length;
  return { text, expires: ttlMs > 0, ada: await list("ada"), bob: await list("bob"), published };
}

const UNTOUCHED = { text: "old", expires: false, ada: [], bob: ["s"], published: 0 };

beforeEach(async () => {
  await admin.flushAll();
  messages.length = 0;
  await admin.set(`${PREFIX}s`, "old");
  const topology = topologyOf({ client: admin, prefix: PREFIX, cluster: undefined });
  const { index: indexCommands } = new SessionCommands(topology);
  const entry = { sid: "s", ttlMs: 600_000, value: "bob" };
  await deadlines.run("add", (deadline) => indexCommands.add(deadline, entry));
});

describe.each(Object.entries(writes))("%s", (name, { write, run }) => {
  test("writes, publishes, and moves the session in the index", async () => {
    await run(await commandsWithout());
    const text = name.startsWith("TOUCH") ? "old" : "new";
    const written = name.startsWith("DELETE") ? { text: null } : { text, expires: true };
    const moved = { ada: name.startsWith("DELETE") ? [] : ["s"], bob: [] };
    const indexed = name === "TOUCH" ? {} : moved;
    expect(await state()).toEqual({ ...UNTOUCHED, ...written, ...indexed, published: 1 });
  });

  test("without the permission to publish, it changes nothing", async () => {
    await expect(run(await commandsWithout("-publish"))).rejects.toThrow(/needed: .*\+publish/);
    expect(await state()).toEqual(UNTOUCHED);
  });

  test("without the permission for the channel, it changes nothing", async () => {
    await expect(run(await commandsWithout("resetchannels", "&other"))).rejects.toThrow(
      /needed: .*&invalidate/,
    );
    expect(await state()).toEqual(UNTOUCHED);
  });

  test("without the permission to write, it publishes nothing", async () => {
    await expect(run(await commandsWithout(`-${write}`))).rejects.toThrow(/needed: /);
    // An index entry may remain: it does no harm without its session.
    expect(await state()).toEqual({ ...UNTOUCHED, ada: expect.anything() });
  });

  test("without the permission for the keys of the index, it says so", async () => {
    const running = run(await commandsWithout("resetkeys", `~${PREFIX}*`));
    if (name === "TOUCH") await running;
    else await expect(running).rejects.toThrow(/needed: .*~idx:\{\* ~/);
  });

  test("on a server that has become a replica, it changes and publishes nothing", async () => {
    const commands = await commandsWithout();
    await admin.sendCommand(["REPLICAOF", "127.0.0.1", "1"]);
    try {
      await expect(run(commands)).rejects.toThrow(/READONLY/);
    } finally {
      await admin.sendCommand(["REPLICAOF", "NO", "ONE"]);
    }
    expect(await state()).toEqual(UNTOUCHED);
  });

  test("without the permission to remove from the index, the write and its message stand", async () => {
    const running = run(await commandsWithout("-zrem"));
    if (name === "TOUCH") await running;
    else await expect(running).rejects.toThrow(/needed: .*\+zrem/);
    const { text, bob, published } = await state();
    expect({ text, bob, published }).toEqual({
      text: name.startsWith("DELETE") ? null : name.startsWith("TOUCH") ? "old" : "new",
      bob: ["s"],
      published: 1,
    });
  });
});

describe("before Redis 7, which has no redis.acl_check_cmd", () => {
  const source = DELETE.source.replaceAll("redis.acl_check_cmd", "redis.unknown");
  const run = async (user: string[]) => {
    const username = `user-${randomUUID()}`;
    await admin.sendCommand(["ACL", "SETUSER", username, "on", ">secret", "+@all", "~*", ...user]);
    const client = createClient({ url: redis.url, username, password: "secret" });
    onTestFinished(() => client.destroy());
    await client.connect();
    return client.eval(source, { keys: [`${PREFIX}s`], arguments: [CHANNEL, announcement.message, "s"] });
  };

  test("the permission is checked all the same", async () => {
    await expect(run(["resetchannels", "&other"])).rejects.toThrow();
    expect(await state()).toEqual(UNTOUCHED);
  });

  test("one message is published", async () => {
    expect(await run(["&*"])).toBe(1);
    expect(await state()).toMatchObject({ text: null, published: 1 });
    expect(messages).toHaveLength(2);
  });
});

test("a session that must exist and does not is not written, and not added to the index", async () => {
  await admin.del(`${PREFIX}s`);
  const save = { sid: "s", value: "new", ttlMs: 60_000, mustExist: true, index };
  const commands = await commandsWithout();
  expect(await deadlines.run("write", (deadline) => commands.write(deadline, save, announcement))).toBe(
    false,
  );
  expect(await state()).toEqual({ ...UNTOUCHED, text: null, published: 1 });
});
