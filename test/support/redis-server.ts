import { canInstall, install } from "./apt.ts";
import { dockerAnswers, startContainer } from "./redis/docker.ts";
import { serverOnPath, startProcess } from "./redis/process.ts";
import type { RedisServer, ServerSpec, StartOptions } from "./redis/server.ts";
import { useUrl } from "./redis/url.ts";

export type { RedisServer, StartOptions } from "./redis/server.ts";

const WAYS = ["url", "process", "docker"] as const;
type Way = (typeof WAYS)[number];

/**
 * A Redis, found in this order: `REDIS_URL` (unless it must be our own); `redis-server` or `valkey-server` on the PATH;
 * Docker; Debian's package, where we may install it. TEST_REDIS=url, process or docker takes that way and no other.
 */
export async function startRedis({ own = false, ...spec }: StartOptions = {}): Promise<RedisServer> {
  const isOwn = own || Object.keys(spec).length > 0;
  const only = chosenWay();
  // The user's server must not be the one that a test stops, even where no other is wanted.
  const may = (way: Way) => only === undefined || only === way || (only === "url" && isOwn && way !== "url");

  const url = process.env["REDIS_URL"];
  if (url && may("url") && !isOwn) return useUrl(url);

  const program = may("process") ? serverOnPath() : undefined;
  if (program !== undefined) return startProcess(program, spec);

  let failure: unknown;
  if (may("docker") && (only === "docker" || (await dockerAnswers()))) {
    try {
      return await startContainer(spec);
    } catch (error) {
      failure = error;
    }
  }

  if (may("process") && canInstall()) {
    installation ??= installServer();
    await installation;
    return startProcess("redis-server", spec);
  }
  throw new Error(nothingFound(only, spec, failure), { cause: failure });
}

/** Once, though a Cluster asks for all its servers at a time. */
let installation: Promise<void> | undefined;

function installServer(): Promise<void> {
  console.log("No Redis found: installing the package redis-server with apt-get (no service is started).");
  return install("redis-server");
}

function chosenWay(): Way | undefined {
  const value = process.env["TEST_REDIS"];
  const way = WAYS.find((known) => known === value);
  if (value && way === undefined) {
    throw new TypeError(`TEST_REDIS must be one of ${WAYS.join(", ")}; got "${value}"`);
  }
  return way;
}

function nothingFound(only: Way | undefined, { atLoopback }: ServerSpec, failure: unknown): string {
  const lines = ["No Redis to test against. One of these helps:"];
  if (only === undefined || only === "url") lines.push("- set REDIS_URL to a server that tests may write to");
  if (only !== "docker") lines.push("- install redis-server or valkey-server, so that it is on the PATH");
  lines.push(
    "- start Docker; TEST_REDIS_IMAGE names the image (by default redis:7-alpine), and where Docker cannot pull " +
      "the image of Ryuk, testcontainers needs TESTCONTAINERS_RYUK_DISABLED=true",
  );
  if (atLoopback) {
    lines.push("- for this one, Docker Desktop needs Settings, Resources, Network, Enable host networking");
  }
  if (only !== undefined) lines.push(`- unset TEST_REDIS, as "${only}" rules out all other ways`);
  if (failure instanceof Error) lines.push(failure.message);
  return lines.join("\n");
}
