import { whenAnswering } from "./ping.ts";
import type { RedisServer } from "./server.ts";

/** The user's own server: it is used, but never paused, killed or emptied. */
export async function useUrl(url: string): Promise<RedisServer> {
  const { version } = await whenAnswering(url);
  const refuse = async () => {
    throw new Error(
      "The server of REDIS_URL is not ours to pause, kill or restart: ask for one with { own: true }",
    );
  };
  const stop = async () => {};
  return {
    url,
    provider: "url",
    version,
    pause: refuse,
    resume: refuse,
    kill: refuse,
    restart: refuse,
    stop,
  };
}
