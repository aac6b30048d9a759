import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "redis";
import { type FaultProxy, startProxy } from "../../support/fault-proxy.ts";
import { startRedis } from "../../support/redis-server.ts";
import { Remote } from "../support/rpc.ts";
import { short } from "../support/statistics.ts";
import { table } from "../support/table.ts";
import type { handlers as nodeHandlers } from "./node.ts";
import { saveAndKill } from "./save-and-kill.ts";

const TOTAL_RATE = 5_000;
const WATCH_S = 12;

type Server = Awaited<ReturnType<typeof startRedis>>;

/** What happens, and its end. */
const OUTAGES: Record<
  string,
  {
    fail(redis: Server, proxy: FaultProxy): unknown;
    mend(redis: Server, proxy: FaultProxy): unknown;
  }
> = {
  "killed, empty when it is back": { fail: (redis) => redis.kill(), mend: (redis) => redis.restart() },
  "killed, with its data": { fail: saveAndKill, mend: (redis) => redis.restart() },
  stopped: { fail: (redis) => redis.pause(), mend: (redis) => redis.resume() },
  "partition (all packets lost)": {
    fail: (_, proxy) => {
      proxy.halfOpen();
      proxy.swallow("toServer");
      proxy.swallow("toClient");
    },
    mend: (_, proxy) => proxy.pass(),
  },
};

/** How several processes with a constant load recover. */
export async function measureRecovery(processes: number, seconds: number): Promise<object> {
  const figures: Record<string, object> = {};
  const rows: string[][] = [];
  for (const [name, { fail, mend }] of Object.entries(OUTAGES)) {
    const redis = await startRedis({ own: true });
    const proxy = await startProxy(redis.url);
    const url = name.startsWith("partition") ? proxy.url : redis.url;
    const file = new URL("node.ts", import.meta.url);
    const nodes = Array.from({ length: processes }, () => new Remote<typeof nodeHandlers>(file, [url]));
    await nodes[0]?.call("fill");
    for (const node of nodes) await node.call("begin", TOTAL_RATE / processes);
    await pause(5_000);
    await fail(redis, proxy);
    await pause(seconds * 1_000);
    await mend(redis, proxy);
    const mendedAt = Date.now();
    const direct = await createClient({ url: redis.url }).connect();
    const reads = async () =>
      Number(/cmdstat_getrange:calls=(\d+)/.exec(await direct.info("commandstats"))?.[1] ?? 0);
    const connections = async () =>
      Number(/total_connections_received:(\d+)/.exec(await direct.info("stats"))?.[1] ?? 0);
    const before = await reads();
    let mostReads = 0;
    for (let tick = 0, last = before; tick < WATCH_S * 2; tick++) {
      await pause(500);
      const now = await reads();
      mostReads = Math.max(mostReads, (now - last) * 2);
      last = now;
      if (tick === WATCH_S) for (const node of nodes) await node.call("resetCacheStats");
    }
    const seen = await Promise.all(nodes.map((node) => node.call("seen")));
    const figure = {
      errorsStopS: (Math.max(...seen.map(({ lastErrorAt }) => lastErrorAt)) - mendedAt) / 1_000,
      liveS: (Math.max(...seen.map(({ liveAt }) => liveAt)) - mendedAt) / 1_000,
      areLive: seen.every(({ state }) => state === "live"),
      hitRate: seen.reduce((sum, { hitRate }) => sum + hitRate, 0) / seen.length,
      mostReadsPerS: mostReads,
      connections: await connections(),
    };
    figures[name] = figure;
    rows.push([
      name,
      short(figure.errorsStopS),
      figure.areLive ? short(figure.liveS) : "never",
      short(figure.hitRate * 100),
      String(figure.mostReadsPerS),
      String(figure.connections),
    ]);
    for (const node of nodes) await node.call("end");
    await Promise.all(nodes.map((node) => node.end()));
    await direct.close();
    await proxy.close();
    await redis.stop();
  }
  console.log(`\n${processes} processes, ${TOTAL_RATE} requests/s in all, Redis away for ${seconds} s\n`);
  console.log(
    table(
      [
        "Redis",
        "errors stop after, s",
        "all live after, s",
        "hit rate then, %",
        "most reads of Redis a second",
        "connections",
      ],
      rows,
    ),
  );
  return figures;
}
