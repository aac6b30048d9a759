import { whenAnswering } from "./ping.ts";
import type { RedisServer } from "./server.ts";

/** The user's own server: it is used, but never paused, killed or emptied. */
export async function useUrl(url: string): Promise<RedisServer> {
  const { hostname, port, username, password, protocol } = new URL(url);
  // Behind TLS or a password its version is not asked for; the tests find out soon enough whether it is there.
  const isPlain = protocol === "redis:" && username === "" && password === "";
  const version = isPlain
    ? await whenAnswering(hostname, Number(port || 6379), () => undefined)
    : "of REDIS_URL";
  const notOurs = async () => {
    throw new Error(
      "The server of REDIS_URL is not ours to pause, kill or restart: ask for one with { own: true }",
    );
  };
  const stop = async () => {};
  return {
    url,
    provider: "url",
    version,
    pause: notOurs,
    resume: notOurs,
    kill: notOurs,
    restart: notOurs,
    stop,
  };
}
