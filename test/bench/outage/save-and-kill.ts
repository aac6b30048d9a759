import { createClient } from "redis";
import type { RedisServer } from "../../support/redis-server.ts";

/** kill -9 of a Redis that has written its data to disk, and has it again after its restart. */
export async function saveAndKill(redis: RedisServer): Promise<void> {
  const client = await createClient({ url: redis.url }).connect();
  await client.sendCommand(["SAVE"]);
  client.destroy();
  await redis.kill();
}
