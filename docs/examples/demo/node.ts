// One process of the cluster; main.ts starts three of it.
import type { AddressInfo } from "node:net";
import { ClusteredRedisStore } from "clustered-redis-store";
import { createClient } from "redis";
import { createApp } from "./app.ts";
import { countRedisCommands } from "./redis-commands.ts";
import { settingsFromEnvironment } from "./settings.ts";

const { node, redisUrl, channel, secret } = settingsFromEnvironment();
const name = `node ${node}`;
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

const store = new ClusteredRedisStore({
  client,
  prefix: "demo:sess:",
  // The default lease of 3 s is meant for servers; a laptop may well stand still for that long in the middle of a show.
  cluster: { nodeId: name, channel, leaseMs: 10_000 },
});
countRedisCommands(`${channel}:`);
await store.ready();

const server = createApp(node, store, secret).listen(0, "127.0.0.1", (error) => {
  if (error) throw error;
  process.send?.({ port: (server.address() as AddressInfo).port });
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
