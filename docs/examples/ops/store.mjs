import { ClusteredRedisStore } from "clustered-redis-store";
import { createClient } from "redis";

/**
 * Opens the store as the application does: the same Redis, `prefix`, `serializer`, `codec`, `indexBy` and `cluster.channel`. What is
 * ended through it is ended in the caches of all its processes, too. Without a cache of its own: it reads from Redis.
 */
export async function openStore() {
  // Without REDIS_URL: localhost:6379. If the connection fails, so does the script, instead of waiting.
  const client = createClient({ url: process.env.REDIS_URL, socket: { reconnectStrategy: false } });
  client.on("error", () => {}); // what was called fails with it
  await client.connect();
  const store = new ClusteredRedisStore({
    client,
    indexBy: (session) => session.userId,
    localCache: false,
  });
  store.on("clusterError", (error) => console.error(error.message));
  const close = async () => {
    await store.close();
    await client.close();
  };
  return { store, close };
}
