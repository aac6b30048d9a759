import { type ChildProcess, spawn } from "node:child_process";
import { type EventEmitter, once } from "node:events";
import { existsSync } from "node:fs";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { connected, connectedRaw } from "./connections.ts";
import { eventually, nextEvent } from "./eventually.ts";
import { startProxy } from "./fault-proxy.ts";
import type { RedisServer, ServerSpec } from "./redis/server.ts";
import { startRedis } from "./redis-server.ts";

describe("a Redis of its own", () => {
  async function ownRedis(spec: ServerSpec = {}): Promise<RedisServer> {
    const redis = await startRedis({ own: true, ...spec });
    onTestFinished(() => redis.stop());
    return redis;
  }

  test("is not the one of REDIS_URL, and says what it is", async () => {
    vi.stubEnv("REDIS_URL", inject("redisUrl"));
    onTestFinished(() => void vi.unstubAllEnvs());
    const redis = await ownRedis();
    expect(redis.url).toMatch(/^redis:\/\/[^/:]+:\d+$/);
    expect(redis.url).not.toBe(inject("redisUrl"));
    expect(redis.provider).toMatch(/^(process|docker)$/);
    expect(redis.version).toMatch(/^(redis|valkey) \d+\.\d+\.\d+/);
  });

  test("takes more arguments, and keeps nothing on disk", async () => {
    const client = await connected((await ownRedis({ args: ["--maxmemory", "7mb"] })).url);
    expect(await client.configGet("*m*")).toMatchObject({ maxmemory: String(7 * 1024 * 1024) });
    expect(await client.configGet(["save", "appendonly"])).toEqual({ save: "", appendonly: "no" });
  });

  test("is configured by a file that it is given, and may write to", async () => {
    const files = { "own.conf": "maxmemory 7mb\n" };
    const client = await connected((await ownRedis({ files, args: ["own.conf"] })).url);
    expect(await client.configGet("maxmemory")).toEqual({ maxmemory: String(7 * 1024 * 1024) });
    expect(await client.configRewrite()).toBe("OK");
  });

  test("is at 127.0.0.1 if it must be, also after a restart", async () => {
    const redis = await ownRedis({ atLoopback: true });
    expect(redis.url).toMatch(/^redis:\/\/127\.0\.0\.1:\d+$/);
    await redis.restart();
    expect(await (await connected(redis.url)).ping()).toBe("PONG");
  });

  test("several are started at once, each on its own port", async () => {
    const servers = await Promise.all([ownRedis(), ownRedis(), ownRedis()]);
    expect(new Set(servers.map(({ url }) => url)).size).toBe(3);
  });

  test("stalls when it is paused: it takes the connection and the command, and answers after resume", async () => {
    const redis = await ownRedis();
    const proxy = await startProxy(redis.url);
    onTestFinished(() => proxy.close());
    const client = await connected(proxy.url);
    const answers: string[] = [];
    proxy.hold("toServer");
    const arrived = proxy.seen("toServer", "PING");
    const answer = client.ping().then((text) => answers.push(text));
    await arrived;
    await redis.pause();
    proxy.release("toServer");
    // A server that is not to be paused answers all the while.
    await (await connected(inject("redisUrl"))).ping();
    expect(answers).toEqual([]);
    await redis.resume();
    await answer;
    expect(answers).toEqual(["PONG"]);
  });

  for (const state of ["running", "paused"] as const) {
    test(`that is ${state} is killed, and restarts empty at the same address`, async () => {
      const redis = await ownRedis();
      const client = await connected(redis.url);
      await client.set("key", "value");
      const lost = nextEvent(client, "error");
      if (state === "paused") await redis.pause();
      await redis.kill();
      await lost;
      await expect(connectedRaw(redis.url)).rejects.toThrow(/ECONNREFUSED/);
      const ready = nextEvent(client, "ready");
      await redis.restart();
      await ready;
      expect(await client.get("key")).toBeNull();
    });
  }

  test("is restarted without being killed first, too", async () => {
    const redis = await ownRedis();
    const client = await connected(redis.url);
    await client.set("key", "value");
    const ready = nextEvent(client, "ready");
    await redis.restart();
    await ready;
    expect(await client.get("key")).toBeNull();
  });

  for (const state of ["running", "paused", "killed"] as const) {
    test(`that is ${state} is stopped for good, once or twice`, async () => {
      const redis = await ownRedis();
      if (state === "paused") await redis.pause();
      if (state === "killed") await redis.kill();
      await redis.stop();
      await redis.stop();
      await expect(connectedRaw(redis.url)).rejects.toThrow(/ECONNREFUSED/);
      for (const verb of ["pause", "resume", "kill"] as const) await redis[verb]();
      await expect(redis.restart()).rejects.toThrow(/stopped for good/);
    });
  }

  test("says why it did not start", async () => {
    await expect(ownRedis({ args: ["--no-such-option", "1"] })).rejects.toThrow(
      /no-such-option|ended|No Redis in Docker/,
    );
  });
});

describe("the Redis of REDIS_URL", () => {
  test("is used, also through a password, and is not to be stopped", async () => {
    const admin = await connected(inject("redisUrl"));
    await admin.sendCommand(["ACL", "SETUSER", "support-test", "on", ">secret", "+@all", "~*", "&*"]);
    onTestFinished(async () => {
      await (await connected(inject("redisUrl"))).sendCommand(["ACL", "DELUSER", "support-test"]);
    });
    const url = new URL(inject("redisUrl"));
    url.username = "support-test";
    url.password = "secret";
    vi.stubEnv("TEST_REDIS", "url");
    vi.stubEnv("REDIS_URL", url.href);
    onTestFinished(() => void vi.unstubAllEnvs());
    const redis = await startRedis();
    expect(redis).toMatchObject({ url: url.href, provider: "url" });
    expect(redis.version).toMatch(/^(redis|valkey) \d/);
    for (const verb of ["pause", "resume", "kill", "restart"] as const) {
      await expect(redis[verb]()).rejects.toThrow(/not ours.*own: true/);
    }
    await redis.stop();
    expect(await admin.ping()).toBe("PONG");
  });

  test("is reported with its own words when it refuses, without the password in them", async () => {
    const url = new URL(inject("redisUrl"));
    url.username = "nobody";
    url.password = "secret";
    vi.stubEnv("TEST_REDIS", "url");
    vi.stubEnv("REDIS_URL", url.href);
    onTestFinished(() => void vi.unstubAllEnvs());
    const failure = await startRedis().catch((error: Error) => error.message);
    expect(failure).toContain("WRONGPASS");
    expect(failure).not.toContain("secret");
  });

  test("is asked for in one error when no other way is left", async () => {
    vi.stubEnv("TEST_REDIS", "url");
    vi.stubEnv("REDIS_URL", "");
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(startRedis()).rejects.toThrow(/set REDIS_URL(.|\n)*unset TEST_REDIS/);
  });

  test("an unknown way is named together with the known ones", async () => {
    vi.stubEnv("TEST_REDIS", "podman");
    onTestFinished(() => void vi.unstubAllEnvs());
    await expect(startRedis()).rejects.toThrow(/must be one of url, process, docker; got "podman"/);
  });
});

describe("a process that ends without stopping its Redis", () => {
  const script = `
    import { startRedis } from "./test/support/redis-server.ts";
    const redis = await startRedis({ own: true });
    console.log(redis.url);
    setInterval(() => {}, 1_000);
    process.on("message", () => { throw new Error("uncaught"); });
  `;

  async function parent(): Promise<{ child: ChildProcess; url: string; ended: Promise<unknown[]> }> {
    const child = spawn(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "ignore", "ipc"],
    });
    const ended = once(child, "exit");
    const url = nextEvent(child.stdout as EventEmitter, "data").then(([chunk]) => String(chunk).trim());
    return { child, url: await url, ended };
  }

  /** Its SIGKILL has been sent by then, and takes effect as soon as the system gets to it. */
  async function isGone(url: string): Promise<void> {
    const refusal = () =>
      connectedRaw(url).then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED",
      );
    await eventually(refusal, { what: "nobody listens any more" });
  }

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    test(`ends it on ${signal}, and dies of that signal as it would have`, async () => {
      const { child, url, ended } = await parent();
      const client = await connected(url);
      const folder = (await client.configGet("dir"))["dir"] ?? "";
      child.kill(signal);
      expect(await ended).toEqual([null, signal]);
      await isGone(url);
      if (folder.includes("redis-for-tests-")) expect(existsSync(folder)).toBe(false);
    });
  }

  test("ends it when an error is not caught", async () => {
    const { child, url, ended } = await parent();
    child.send("throw");
    expect(await ended).toEqual([1, null]);
    await isGone(url);
  });
});
