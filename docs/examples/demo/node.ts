// One process of the cluster; main.ts starts three of it.
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { ClusteredRedisStore } from "clustered-redis-store";
import { createClient } from "redis";
import { createApp } from "./app.ts";
import { countRedisCommands, watchStore } from "./redis-commands.ts";
import { settingsFromEnvironment } from "./settings.ts";
import { Telling, type Times } from "./telling.ts";

// The default lease of 3 s is meant for servers; a laptop may well stand still for that long in the middle of a show.
const LEASE_MS = 10_000;
const CACHE_TTL_MS = 30_000;
/** On one node only, so that an outage can be watched with it and without it. */
const STALE_IF_ERROR_MS = 60_000;
const NODE_WITH_STALE = 3;
/** The default of 5 s is long to look at a button. */
const COMMAND_TIMEOUT_MS = 3_000;

const { node, redisUrl, subscriberUrl, run, secret } = settingsFromEnvironment();
const name = `node ${node}`;
const times: Times = {
  leaseMs: LEASE_MS,
  cacheTtlMs: CACHE_TTL_MS,
  staleIfErrorMs: node === NODE_WITH_STALE ? STALE_IF_ERROR_MS : 0,
};
let isStopping = false;

// Ctrl-C reaches every process of the terminal. This one goes when main.ts says so, or is gone.
process.on("SIGINT", () => {
  isStopping = true;
});
let stop: () => unknown = () => process.exit();
process.once("disconnect", () => stop());
// Or was so before anybody listened.
if (!process.connected) stop();

let lastError = "";
const client = createClient({ url: redisUrl }).on("error", (error: NodeJS.ErrnoException) => {
  const what = error.message || error.code || String(error);
  // A client that cannot connect says so ten times a second.
  if (!isStopping && what !== lastError) console.error(`${name}: Redis: ${what}`);
  lastError = what;
});
await client.connect();

const channel = `demo:${run}:invalidate`;
countRedisCommands(`${channel}:`);
const store = new ClusteredRedisStore({
  client,
  prefix: `demo:${run}:sess:`,
  indexBy: ({ visitor }) => visitor?.user,
  localCache: { ttlMs: times.cacheTtlMs, staleIfErrorMs: times.staleIfErrorMs },
  // The duplicate is given the listeners that it needs; this one never connects.
  cluster: {
    nodeId: name,
    channel,
    leaseMs: times.leaseMs,
    subscriber: createClient({ url: subscriberUrl }),
  },
  commandTimeoutMs: COMMAND_TIMEOUT_MS,
});
watchStore(store);
const telling = new Telling(store, times);
// Not ready(), which has a limit of its own: that of a start is in node-process.ts, and a busy machine may need most of it.
await once(store, "live");

const server = createApp(node, store, secret, telling.answered).listen(0, "127.0.0.1", (error) => {
  if (error) throw error;
  telling.listening((server.address() as AddressInfo).port);
});

stop = async () => {
  isStopping = true;
  try {
    server.close();
    server.closeAllConnections();
    await store.close();
    client.destroy();
  } finally {
    process.exit();
  }
};
