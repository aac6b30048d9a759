import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "redis";
import { type FaultProxy, startProxy } from "../../support/fault-proxy.ts";
import type { RedisServer } from "../../support/redis/server.ts";
import { Remote } from "../support/rpc.ts";
import { short } from "../support/statistics.ts";
import { table } from "../support/table.ts";
import type { Kind } from "./clients.ts";
import { SESSIONS, WRITES } from "./load.ts";
import type { handlers as nodeHandlers } from "./node.ts";
import { type Place, startPlace } from "./place.ts";
import { saveAndKill } from "./save-and-kill.ts";

const CALM_MS = 10_000;
const WATCH_MS = 20_000;
const LOOK_MS = 100;

interface Outage {
  readonly kind: Kind;
  fail(redis: RedisServer, proxy: FaultProxy): unknown;
  mend(redis: RedisServer, proxy: FaultProxy, servers: readonly RedisServer[]): unknown;
}

const OUTAGES: Record<string, Outage> = {
  "killed, empty when it is back": {
    kind: "client",
    fail: (redis) => redis.kill(),
    mend: (redis) => redis.restart(),
  },
  "killed, with its data": { kind: "client", fail: saveAndKill, mend: (redis) => redis.restart() },
  stopped: { kind: "client", fail: (redis) => redis.pause(), mend: (redis) => redis.resume() },
  "partition (all packets lost)": {
    kind: "client",
    fail: (_, proxy) => {
      proxy.halfOpen();
      proxy.swallow("toServer");
      proxy.swallow("toClient");
    },
    mend: (_, proxy) => proxy.pass(),
  },
  "primary killed, Sentinel: since there is another": {
    kind: "Sentinel",
    fail: (redis) => redis.kill(),
    mend: (_, __, [, replica]) => promoted(replica as RedisServer),
  },
};

/** A server that becomes a primary closes its connections. */
async function adminOf(url: string) {
  const admin = createClient({ url });
  admin.on("error", () => {});
  return admin.connect();
}

/** Resolves when a replica is the primary. */
async function promoted({ url }: RedisServer): Promise<void> {
  const admin = await adminOf(url);
  const role = () => admin.info("replication").catch(() => "");
  while (!(await role()).includes("role:master")) await pause(LOOK_MS);
  admin.destroy();
}

/** What Redis has done since its start. */
interface Work {
  readonly reads: number;
  readonly connections: number;
}

async function workOf(admin: { info(section: string): Promise<string> }): Promise<Work> {
  const [commands, stats] = await Promise.all([admin.info("commandstats"), admin.info("stats")]);
  return {
    reads: Number(/cmdstat_getrange:calls=(\d+)/.exec(commands)?.[1] ?? 0),
    connections: Number(/total_connections_received:(\d+)/.exec(stats)?.[1] ?? 0),
  };
}

/**
 * How many processes with a constant load recover.
 * @param rate requests a second of all together
 */
export async function measureRecovery(processes: number, seconds: number, rate = 5_000): Promise<object> {
  const figures: Record<string, object> = {};
  const rows: string[][] = [];
  for (const [name, outage] of Object.entries(OUTAGES)) {
    const place = await startPlace(outage.kind);
    const figure = await recover(place, outage, processes, seconds, rate);
    await place.stop();
    figures[name] = figure;
    rows.push([name, ...Object.values(figure).map((value) => (value === null ? "never" : short(value)))]);
    console.error(name, figure);
  }
  const writes = `${100 * WRITES} % writes`;
  console.log(
    `\n${processes} processes, ${rate} requests/s wanted in all, ${writes}, ${SESSIONS} sessions, Redis away for ${seconds} s\n`,
  );
  const head = [
    "Redis",
    "requests/s",
    "hit rate before, %",
    "errors stop after, s",
    "all live after, s",
    "hit rate then, %",
    "reads per session and process, first 5 s",
    "most reads a second before",
    "after",
    "new connections",
    "most in 100 ms",
  ];
  console.log(table(head, rows));
  return figures;
}

async function recover(
  { address, servers }: Place,
  { kind, fail, mend }: Outage,
  processes: number,
  seconds: number,
  rate: number,
): Promise<Record<string, number | null>> {
  const [redis] = servers as [RedisServer];
  const proxy = kind === "client" ? await startProxy(redis.url) : undefined;
  const file = new URL("node.ts", import.meta.url);
  const given = [kind, proxy?.url ?? address];
  const nodes = Array.from({ length: processes }, () => new Remote<typeof nodeHandlers>(file, given));
  const all = <T>(ask: (node: Remote<typeof nodeHandlers>) => Promise<T>) => Promise.all(nodes.map(ask));
  await nodes[0]?.call("fill");
  await all((node) => node.call("begin", rate / processes));
  await pause(CALM_MS);
  await all((node) => node.call("reset"));
  const calm = await watch(redis.url, CALM_MS);
  const before = await all((node) => node.call("seen"));
  await fail(redis, proxy as FaultProxy);
  if (kind !== "Sentinel") await pause(seconds * 1_000);
  await mend(redis, proxy as FaultProxy, servers);
  const mendedAt = Date.now();
  // The server that sessions are in from now on.
  const first = await watch((servers.at(-1) as RedisServer).url, WATCH_MS);
  await all((node) => node.call("reset"));
  await pause(CALM_MS);
  const seen = await all((node) => node.call("seen"));
  const since = (times: number[]) => Math.max(0, (Math.max(...times) - mendedAt) / 1_000);
  await all((node) => node.call("end"));
  await all((node) => node.end());
  await proxy?.close();
  return {
    requestsPerS: sum(before.map(({ requests }) => requests)) / (CALM_MS / 1_000),
    hitRateBefore: (100 * sum(before.map(({ hitRate }) => hitRate))) / processes,
    errorsStopS: since(seen.map(({ lastErrorAt }) => lastErrorAt)),
    liveS: seen.every(({ state }) => state === "live") ? since(seen.map(({ liveAt }) => liveAt)) : null,
    hitRateAfter: (100 * sum(seen.map(({ hitRate }) => hitRate))) / processes,
    readsPerSession: first.readsInFirst5S / SESSIONS / processes,
    mostReadsBefore: calm.mostReadsPerS,
    mostReadsAfter: first.mostReadsPerS,
    connections: first.connections,
    mostConnections: first.mostConnections,
  };
}

/** Watches what a server does. */
async function watch(url: string, forMs: number) {
  const admin = await adminOf(url);
  const works: (Work & { readonly at: number })[] = [];
  for (const startedAt = performance.now(); performance.now() - startedAt < forMs; await pause(LOOK_MS)) {
    const work = await workOf(admin).catch(() => undefined);
    if (work !== undefined) works.push({ ...work, at: performance.now() - startedAt });
  }
  admin.destroy();
  const between = (of: keyof Work, spanMs: number) =>
    works.map((work) => {
      const end = works.find(({ at }) => at >= work.at + spanMs);
      return end === undefined ? 0 : ((end[of] - work[of]) * spanMs) / (end.at - work.at);
    });
  const [start, end] = [works[0] as Work, works.at(-1) as Work];
  return {
    readsInFirst5S: between("reads", 5_000)[0] as number,
    mostReadsPerS: Math.max(...between("reads", 1_000)),
    connections: end.connections - start.connections,
    mostConnections: Math.max(...between("connections", LOOK_MS)),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
