import { type ChildProcess, spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import { existsSync } from "node:fs";
import { createConnection, createServer, type Socket } from "node:net";
import { createClient } from "redis";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { eventually, nextEvent } from "./eventually.ts";
import { type FaultProxy, startProxy } from "./fault-proxy.ts";
import type { RedisServer, ServerSpec } from "./redis/server.ts";
import { startRedis } from "./redis-server.ts";

async function connected(url: string) {
  const client = createClient({ url, RESP: 2, socket: { reconnectStrategy: 20 } });
  client.on("error", () => {});
  onTestFinished(() => client.destroy());
  await client.connect();
  return client;
}

describe("a Redis of our own", () => {
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

  test("is at 127.0.0.1 if it must be, also when it comes back", async () => {
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
    // A server that is not ours to pause answers all the while.
    await (await connected(inject("redisUrl"))).ping();
    expect(answers).toEqual([]);
    await redis.resume();
    await answer;
    expect(answers).toEqual(["PONG"]);
  });

  for (const state of ["running", "paused"] as const) {
    test(`that is ${state} is killed, and comes back empty at the same address`, async () => {
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
  test("is used, also through a password, and is not ours to stop", async () => {
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

  test("is refused with its own words when it refuses us, without the password in them", async () => {
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

  /** Its SIGKILL has been sent by then, and is carried out as soon as the system gets to it. */
  async function isGone(url: string): Promise<void> {
    const refusal = () =>
      connectedRaw(url).then(
        () => false,
        (error: NodeJS.ErrnoException) => error.code === "ECONNREFUSED",
      );
    await eventually(refusal, { what: "nobody listens any more" });
  }

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    test(`takes it along on ${signal}, and dies of that signal as it would have`, async () => {
      const { child, url, ended } = await parent();
      const client = await connected(url);
      const folder = (await client.configGet("dir"))["dir"] ?? "";
      child.kill(signal);
      expect(await ended).toEqual([null, signal]);
      await isGone(url);
      if (folder.includes("redis-for-tests-")) expect(existsSync(folder)).toBe(false);
    });
  }

  test("takes it along when an error is not caught", async () => {
    const { child, url, ended } = await parent();
    child.send("throw");
    expect(await ended).toEqual([1, null]);
    await isGone(url);
  });
});

/** What has come in over a socket, as text. */
class Inbox {
  text = "";
  hasEnded = false;
  isClosed = false;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.text += chunk.toString("latin1");
    });
    socket.on("end", () => {
      this.hasEnded = true;
    });
    socket.on("close", () => {
      this.isClosed = true;
    });
    socket.on("error", () => {});
  }

  async has(text: string): Promise<void> {
    await eventually(() => this.text === text, { what: `"${text}" has come, and nothing else` });
  }
}

async function connectedRaw(url: string): Promise<Inbox> {
  const { hostname, port } = new URL(url);
  const socket = createConnection({ host: hostname, port: Number(port), allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  return new Inbox(socket);
}

describe("the proxy, byte by byte", () => {
  /** A server that is only a socket, behind a proxy. */
  async function rawServer() {
    const accepted = new EventEmitter();
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      onTestFinished(() => void socket.destroy());
      accepted.emit("inbox", new Inbox(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void server.close());
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const proxy = await startProxy(`redis://user:pass%20word@127.0.0.1:${address.port}/3`);
    onTestFinished(() => proxy.close());
    const connect = async () => {
      const inbox = nextEvent(accepted, "inbox");
      const client = await connectedRaw(proxy.url);
      return { client, server: (await inbox)[0] as Inbox };
    };
    return { proxy, connect, close: () => server.close() };
  }

  async function say(proxy: FaultProxy, from: Inbox, direction: "toServer" | "toClient", text: string) {
    const arrived = proxy.seen(direction, text);
    from.socket.write(text);
    await arrived;
  }

  test("its URL is the target's, but for the address", async () => {
    const { proxy } = await rawServer();
    expect(proxy.url).toBe(`redis://user:pass%20word@127.0.0.1:${proxy.port}/3`);
  });

  test("what is held keeps its order, on each connection and in each direction for itself", async () => {
    const { proxy, connect } = await rawServer();
    const one = await connect();
    proxy.hold("toServer");
    const two = await connect();
    for (const text of ["a", "b", "c"]) await say(proxy, one.client, "toServer", text);
    await say(proxy, two.client, "toServer", "z");
    one.server.socket.write("other way");
    await one.client.has("other way");
    expect(one.server.text + two.server.text).toBe("");
    proxy.release("toServer");
    one.client.socket.write("d");
    await one.server.has("abcd");
    await two.server.has("z");
  });

  test("what is swallowed is lost, on connections old and new, until it passes again", async () => {
    const { proxy, connect } = await rawServer();
    const old = await connect();
    proxy.swallow("toClient");
    const young = await connect();
    await say(proxy, old.server, "toClient", "lost");
    await say(proxy, young.server, "toClient", "lost, too");
    proxy.release("toClient");
    await say(proxy, old.server, "toClient", "still lost");
    proxy.pass();
    old.server.socket.write("old");
    young.server.socket.write("young");
    await old.client.has("old");
    await young.client.has("young");
  });

  test("pass lets go what was held, and ends every other fault", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.hold("toServer");
    await say(proxy, client, "toServer", "held");
    proxy.cutAfter("toServer", 1);
    proxy.delay("toClient", 1_000_000);
    proxy.pass();
    await server.has("held");
    server.socket.write("at once");
    await client.has("at once");
  });

  test("what is delayed is overtaken by other connections, never by what follows on its own", async () => {
    const { proxy, connect } = await rawServer();
    const slow = await connect();
    const fast = await connect();
    proxy.delay("toServer", 1_000);
    await say(proxy, slow.client, "toServer", "first ");
    proxy.delay("toServer", 0);
    await say(proxy, slow.client, "toServer", "second");
    await say(proxy, fast.client, "toServer", "fast");
    await fast.server.has("fast");
    expect(slow.server.text).toBe("");
    await slow.server.has("first second");
  });

  test("a side that has ended can still be answered", async () => {
    const { connect } = await rawServer();
    const { client, server } = await connect();
    client.socket.end("question");
    await eventually(() => server.hasEnded);
    server.socket.end("answer");
    await client.has("answer");
    await eventually(() => client.isClosed && server.isClosed);
  });

  test("what a client said before it went away arrives when it is released, and then its end", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.hold("toServer");
    await say(proxy, client, "toServer", "last will");
    client.socket.destroy();
    await eventually(() => client.isClosed);
    expect(server).toMatchObject({ text: "", hasEnded: false });
    proxy.release("toServer");
    await server.has("last will");
    await eventually(() => server.hasEnded);
  });

  test("the end of a swallowed connection is not heard of until it passes again", async () => {
    const { proxy, connect } = await rawServer();
    const { client, server } = await connect();
    proxy.swallow("toServer");
    await say(proxy, client, "toServer", "lost");
    client.socket.destroy();
    await eventually(() => client.isClosed);
    expect(server).toMatchObject({ text: "", hasEnded: false });
    proxy.pass();
    await eventually(() => server.hasEnded);
    expect(server.text).toBe("");
  });

  test("cutAfter lets exactly so many bytes through, and spares the next connection", async () => {
    const { proxy, connect } = await rawServer();
    const victim = await connect();
    proxy.cutAfter("toServer", 6);
    victim.client.socket.write("abcd");
    await victim.server.has("abcd");
    victim.client.socket.write("efgh");
    await eventually(() => victim.client.hasEnded || victim.client.isClosed);
    await eventually(() => victim.server.hasEnded);
    expect(victim.server.text).toBe("abcdef");
    await eventually(() => proxy.connections === 0);
    const next = await connect();
    next.client.socket.write("all of it");
    await next.server.has("all of it");
  });

  test("connections are counted, cut, refused and accepted again", async () => {
    const { proxy, connect } = await rawServer();
    const [one, two] = [await connect(), await connect()];
    expect(proxy).toMatchObject({ connections: 2, accepted: 2 });
    proxy.cut();
    expect(proxy.connections).toBe(0);
    await eventually(() => [one.client, two.client, one.server, two.server].every((side) => side.hasEnded));
    const three = await connect();
    proxy.refuse();
    await eventually(() => three.client.hasEnded);
    const refused = await connectedRaw(proxy.url);
    await eventually(() => refused.hasEnded || refused.isClosed);
    expect(proxy).toMatchObject({ connections: 0, accepted: 4 });
    proxy.accept();
    const four = await connect();
    four.client.socket.write("welcome");
    await four.server.has("welcome");
  });

  test("a target that is not there closes the connection, and nothing else", async () => {
    const { proxy, close } = await rawServer();
    close();
    const client = await connectedRaw(proxy.url);
    await eventually(() => client.hasEnded || client.isClosed);
    await eventually(() => proxy.connections === 0);
  });

  test("seen finds a text that comes in two chunks, but not one made of two connections or from before", async () => {
    const { proxy, connect } = await rawServer();
    const one = await connect();
    const two = await connect();
    await say(proxy, one.client, "toServer", "needle");
    const sightings: string[] = [];
    const seen = proxy.seen("toServer", "needle").then(() => sightings.push("needle"));
    await say(proxy, one.client, "toServer", "nee");
    await say(proxy, two.client, "toServer", "dle");
    expect(sightings).toEqual([]);
    await say(proxy, one.client, "toServer", "dle");
    await seen;
    expect(sightings).toEqual(["needle"]);
  });

  test("seen gives up after a while, and when the proxy is closed, and names the text", async () => {
    const { proxy } = await rawServer();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const late = expect(proxy.seen("toServer", "PUBLISH x")).rejects.toThrow(
      /"PUBLISH x".*to the server.*20 s/,
    );
    vi.advanceTimersByTime(20_000);
    await late;
    const closed = expect(proxy.seen("toClient", "+OK")).rejects.toThrow(/closed.*"\+OK"/);
    await proxy.close();
    await closed;
  });
});

describe("the proxy before a real client", () => {
  async function throughProxy() {
    const proxy = await startProxy(inject("redisUrl"));
    onTestFinished(() => proxy.close());
    return { proxy, client: await connected(proxy.url) };
  }

  test("a reply that is held arrives when it is released", async () => {
    const { proxy, client } = await throughProxy();
    proxy.hold("toClient");
    const arrived = proxy.seen("toClient", "+PONG");
    const replies: string[] = [];
    const reply = client.ping().then((text) => replies.push(text));
    await arrived;
    expect(replies).toEqual([]);
    proxy.release("toClient");
    await reply;
  });

  test("a connection that is cut, in the middle of a reply or not, fails the command, and the client comes back", async () => {
    const { proxy, client } = await throughProxy();
    for (const cut of [() => proxy.cut(), () => proxy.cutAfter("toClient", 3)]) {
      const ready = nextEvent(client, "ready");
      proxy.hold("toServer");
      const failure = expect(client.ping()).rejects.toThrow(/closed/i);
      await eventually(() => proxy.connections === 1);
      cut();
      proxy.release("toServer");
      await failure;
      await ready;
      expect(await client.ping()).toBe("PONG");
    }
  });

  test("a client that is refused comes back when it is accepted", async () => {
    const { proxy, client } = await throughProxy();
    const before = proxy.accepted;
    proxy.refuse();
    await eventually(() => proxy.accepted > before + 1, { what: "it has tried again, twice" });
    const ready = nextEvent(client, "ready");
    proxy.accept();
    await ready;
    expect(await client.ping()).toBe("PONG");
  });

  test("a command that is swallowed stays without an answer", async () => {
    const { proxy, client } = await throughProxy();
    proxy.swallow("toServer");
    const arrived = proxy.seen("toServer", "SET");
    const key = `test:swallowed:${proxy.port}:${Date.now()}`;
    const fate = client.set(key, "v").catch((error: Error) => error.message);
    await arrived;
    expect(await (await connected(inject("redisUrl"))).exists(key)).toBe(0);
    client.destroy();
    expect(await fate).toMatch(/disconnect/i);
  });
});

describe("eventually", () => {
  test("gives the first truthy result, however often the check threw before", async () => {
    let calls = 0;
    const check = async () => {
      calls++;
      if (calls < 3) throw new Error("not yet");
      return calls < 5 ? 0 : "there";
    };
    expect(await eventually(check)).toBe("there");
    expect(calls).toBe(5);
  });

  test("says what never became true, and what came last", async () => {
    const broken = () => {
      throw new Error("no such key");
    };
    const options = { timeoutMs: 20, what: "the key is there" };
    await expect(eventually(broken, options)).rejects.toThrow(/the key is there\nAt last: no such key/);
    await expect(eventually(() => 0, options)).rejects.toThrow(/the key is there\nAt last: 0/);
  });

  test("does not wait for a check that hangs", async () => {
    const hanging = () => new Promise<boolean>(() => {});
    await expect(eventually(hanging, { timeoutMs: 20 })).rejects.toThrow(/did not come to an end/);
  });
});

describe("nextEvent", () => {
  test("gives the arguments of the next event only", async () => {
    const emitter = new EventEmitter();
    const event = nextEvent(emitter, "news");
    emitter.emit("news", 1, "one");
    emitter.emit("news", 2, "two");
    expect(await event).toEqual([1, "one"]);
    expect(emitter.listenerCount("news")).toBe(0);
  });

  test("names the event that did not come, and listens no more", async () => {
    const emitter = new EventEmitter();
    await expect(nextEvent(emitter, "news", { timeoutMs: 5 })).rejects.toThrow(/"news"/);
    expect(emitter.listenerCount("news")).toBe(0);
  });
});
