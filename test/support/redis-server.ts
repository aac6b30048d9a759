import { canInstall, installRedis } from "./redis/apt.ts";
import { dockerAnswers, startContainer } from "./redis/docker.ts";
import { serverOnPath, startProcess } from "./redis/process.ts";
import type { RedisServer, StartOptions } from "./redis/server.ts";
import { useUrl } from "./redis/url.ts";

export type { RedisServer, StartOptions } from "./redis/server.ts";

/**
 * A Redis, found in this order: `REDIS_URL` (unless it must be our own); `redis-server` or `valkey-server` on the PATH;
 * Docker; Debian's package, where we may install it. TEST_REDIS=url, process or docker takes that way and no other.
 */
export async function startRedis({ own = false, args = [] }: StartOptions = {}): Promise<RedisServer> {
  const url = process.env["REDIS_URL"];
  const only = process.env["TEST_REDIS"];
  const may = (way: string) => only === undefined || only === "" || only === way;

  if (url && may("url") && !own && args.length === 0) return useUrl(url);
  if (may("process") || only === "url") {
    const program = serverOnPath();
    if (program !== undefined) return startProcess(program, args);
  }
  if (only === "docker") return startContainer(args);
  let refusal = "";
  if (may("docker") && dockerAnswers()) {
    try {
      return await startContainer(args);
    } catch (error) {
      // An engine that cannot get the image is as good as none.
      refusal = ` Docker is there, but: ${error instanceof Error ? error.message : error}`;
    }
  }
  if (may("process") && canInstall()) {
    installRedis();
    return startProcess("redis-server", args);
  }
  throw new Error(
    "No Redis to be had. Do one of these: set REDIS_URL; install redis-server or valkey-server, so that it is on the " +
      "PATH; start Docker (its image: TEST_REDIS_IMAGE, by default redis:7-alpine; where Docker can pull nothing else, " +
      "set TESTCONTAINERS_RYUK_DISABLED=true)." +
      (only ? ` TEST_REDIS=${only} leaves no other way.` : "") +
      refusal,
  );
}
