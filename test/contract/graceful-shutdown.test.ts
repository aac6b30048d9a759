import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, inject, onTestFinished, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type ExampleProcess, startExample, Visitor } from "../support/example-process.ts";
import { newSpace, ownRedis } from "../support/node.ts";
import type { RedisServer } from "../support/redis/server.ts";

async function start(): Promise<{ app: ExampleProcess; redis: RedisServer; visitor: Visitor }> {
  const redis = await ownRedis();
  const app = await startExample("graceful-shutdown/server.mjs", redis.url);
  const visitor = new Visitor();
  await eventually(async () => (await visitor.get(app, "/ready")).status === 200);
  return { app, redis, visitor };
}

async function endsByItself(app: ExampleProcess, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  const { ended, child, output } = app;
  child.kill(signal);
  expect(await ended).toEqual({ code: 0, signal: null });
  expect(output()).toContain("stopped");
}

// Docker and Kubernetes send SIGTERM, PM2 and Ctrl-C SIGINT.
test.each(["SIGTERM", "SIGINT"] as const)(
  "on %s the process answers, closes and ends by itself",
  async (signal) => {
    const { app, visitor } = await start();
    expect((await visitor.get(app, "/")).body).toEqual({ views: 1 });
    expect((await visitor.get(app, "/ready")).body).toMatchObject({
      redis: true,
      cacheSize: expect.any(Number),
    });
    await endsByItself(app, signal);
  },
);

test("it ends by itself when Redis is gone; until then it is alive, but not ready", async () => {
  const { app, redis, visitor } = await start();
  await visitor.get(app, "/");
  await redis.kill();
  expect(await visitor.get(app, "/ready")).toMatchObject({ status: 503, body: { redis: false } });
  expect(await visitor.get(app, "/live")).toEqual({ status: 200, body: { alive: true } });
  await endsByItself(app);
});

test("it ends by itself when Redis is stalled, and the request under way has been answered", async () => {
  const { app, redis, visitor } = await start();
  await visitor.get(app, "/");
  await redis.pause();
  onTestFinished(() => redis.resume().catch(() => {}));
  // The change cannot be saved: an answer with the error, or cut off in the middle, but none that never comes.
  const answer = visitor.get(app, "/").then(
    () => "answered",
    () => "answered",
  );
  await eventually(async () => (await visitor.get(app, "/live")).status === 200);
  await endsByItself(app);
  expect(await answer).toBe("answered");
});

test("it starts without Redis, and is ready when Redis is there", async () => {
  const redis = await ownRedis();
  await redis.kill();
  const app = await startExample("graceful-shutdown/server.mjs", redis.url);
  const visitor = new Visitor();
  expect((await visitor.get(app, "/live")).status).toBe(200);
  expect((await visitor.get(app, "/ready")).status).toBe(503);
  await redis.restart();
  await eventually(async () => (await visitor.get(app, "/ready")).status === 200);
  await endsByItself(app);
});

test("a process that closes its client and not its store ends, as with connect-redis", async () => {
  const { prefix, channel } = newSpace();
  const program = `
    import { createClient } from "redis";
    import { ClusteredRedisStore } from "./lib/index.ts";
    const client = await createClient({ url: ${JSON.stringify(inject("redisUrl"))} }).connect();
    const store = new ClusteredRedisStore({ client, prefix: "${prefix}", cluster: { channel: "${channel}" } });
    await new Promise((resolve) => store.once("live", resolve));
    await client.close();
    console.log("closed, with a store that is", store.clusterStats.state);
  `;
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  // Rejects unless the exit status is 0.
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", "tsx", "--input-type=module", "-e", program],
    { signal: stopping.signal },
  );
  expect(stdout).toBe("closed, with a store that is live\n");
});
