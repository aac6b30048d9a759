// Run by half-open.test.ts: node dropped-packets.ts namespace|proxy. It prints how a store survives a data connection on which
// packets disappear: in a network namespace, which only this process and its children are in, because the kernel drops them; otherwise
// because a proxy swallows them.
import { execFileSync } from "node:child_process";
import { createClient } from "redis";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { startProxy } from "../support/fault-proxy.ts";
import { startRedis } from "../support/redis-server.ts";

const TIMEOUT_MS = process.env["FIGURES"] ? 5_000 : 500;
const isInNamespace = process.argv[2] === "namespace";
const NAME = "data";

const ip = (...args: string[]) => execFileSync("ip", args);
if (isInNamespace) {
  ip("link", "set", "lo", "up");
  // Other rules can only be before the one for local addresses if that one is not the first.
  ip("rule", "add", "pref", "2", "lookup", "local");
  ip("rule", "del", "pref", "0");
}

const redis = await startRedis({ own: true, atLoopback: true });
const proxy = await startProxy(redis.url);
const admin = await createClient({ url: redis.url }).connect();
const client = createClient({ url: isInNamespace ? redis.url : proxy.url, name: NAME });
client.on("error", () => {});
await client.connect();
const store = new ClusteredRedisStore({
  client,
  commandTimeoutMs: TIMEOUT_MS,
  cluster: { heartbeatMs: 50, leaseMs: 400, subscriber: createClient({ url: redis.url }) },
});
store.on("clusterError", () => {});
await eventually(() => store.clusterStats.state === "live");

/** Both directions of the connection that is open now. */
async function dropPackets(): Promise<void> {
  if (!isInNamespace) return proxy.halfOpen();
  const list = String(await admin.sendCommand(["CLIENT", "LIST"]));
  const own = list.split("\n").find((line) => line.includes(` name=${NAME} `)) ?? "";
  const ends = [/ addr=\S+:(\d+)/, / laddr=\S+:(\d+)/].map((part) => part.exec(own)?.[1] as string);
  for (const [from, to] of [ends, ends.toReversed()] as [string, string][]) {
    ip("rule", "add", "pref", "1", "ipproto", "tcp", "sport", from, "dport", to, "blackhole");
  }
}

const from = performance.now();
await dropPackets();
await eventually(() => store.clusterStats.reconnects > 0);
const replacedMs = performance.now() - from;
await eventually(() => store.clusterStats.state === "live");
const liveMs = performance.now() - from;
await eventually(() => store.set("s", { cookie: { originalMaxAge: null } }).then(() => true));
const isServed = await eventually(() => store.get("s").then((session) => session !== null));
await store.close();
client.destroy();
admin.destroy();
await proxy.close();
await redis.stop();
console.log(JSON.stringify({ replacedMs, liveMs, isServed }));
