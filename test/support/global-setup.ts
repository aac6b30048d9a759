import type { TestProject } from "vitest/node";
import { startRedis } from "./redis-server.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** The Redis that all tests share: each keeps to keys and channels of its own. */
    redisUrl: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const redis = await startRedis();
  console.log(`Tests use ${redis.version} (${redis.provider}) at ${new URL(redis.url).host}`);
  project.provide("redisUrl", redis.url);
  return () => redis.stop();
}
