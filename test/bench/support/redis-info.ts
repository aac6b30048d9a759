import type { createClient } from "redis";

/** What Redis has done since its start. */
export interface RedisWork {
  /** Calls by command, in upper case. */
  readonly calls: Readonly<Record<string, number>>;
  /** CPU of the server, system and user, in µs. */
  readonly cpuUs: number;
}

/** What it takes to look. */
const OURS = new Set(["INFO", "CLIENT", "HELLO", "CLIENT|SETINFO", "CLIENT|TRACKING", "CLIENT|ID"]);

export async function redisWork(client: ReturnType<typeof createClient>): Promise<RedisWork> {
  const [stats, cpu] = [await client.info("commandstats"), await client.info("cpu")];
  const calls: Record<string, number> = {};
  for (const [, command = "", count] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
    const name = command.toUpperCase();
    if (!OURS.has(name)) calls[name] = Number(count);
  }
  const seconds = (which: string) => Number(new RegExp(`^used_cpu_${which}:([\\d.]+)`, "m").exec(cpu)?.[1]);
  return { calls, cpuUs: 1e6 * (seconds("sys") + seconds("user")) };
}

/** What was done between two looks. */
export function since(before: RedisWork, after: RedisWork): RedisWork {
  const calls: Record<string, number> = {};
  for (const [command, count] of Object.entries(after.calls)) {
    const more = count - (before.calls[command] ?? 0);
    if (more > 0) calls[command] = more;
  }
  return { calls, cpuUs: after.cpuUs - before.cpuUs };
}
