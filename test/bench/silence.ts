import { startProxy } from "../support/fault-proxy.ts";
import { startRedis } from "../support/redis-server.ts";
import { type ContenderName, READERS } from "./contender/names.ts";
import type { ContenderProcess } from "./measure.ts";
import { MAIN } from "./plan.ts";
import { Remote } from "./support/rpc.ts";

/** For how long a process served a deleted session, in ms. */
export type Silent = Readonly<Partial<Record<ContenderName, number>>>;

/**
 * For how long a process serves a session that another process has deleted, while its own connections are silent: nothing
 * arrives on them, and nothing says so, as after a failure of a network or a router. All contenders at the same time.
 */
export async function measureSilence(): Promise<Silent> {
  const server = await startRedis({ own: true });
  const served = await Promise.all(
    READERS.map(async (name) => [name, await servedForMs(name, server.url)] as const),
  );
  await server.stop();
  return Object.fromEntries(served);
}

async function servedForMs(name: ContenderName, url: string): Promise<number> {
  const proxy = await startProxy(url);
  const start = (): ContenderProcess => new Remote(new URL("contender/main.ts", import.meta.url), [name]);
  const [silent, other] = [start(), start()];
  const { bytes, maxAgeMs } = MAIN.loopback;
  const setting = { bytes, maxAgeMs, prefix: `bench:silence:${name.replaceAll(/\W/g, "")}:` };
  await other.call("prepare", { ...setting, redisUrl: url });
  await silent.call("prepare", { ...setting, redisUrl: proxy.url });
  await silent.call("read");
  proxy.halfOpen();
  await other.call("destroy");
  const ms = await silent.call("servedFor");
  for (const process of [silent, other]) await process.end();
  await proxy.close();
  return ms;
}
