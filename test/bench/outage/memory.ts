import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "redis";
import { startRedis } from "../../support/redis-server.ts";
import { Remote } from "../support/rpc.ts";
import { short } from "../support/statistics.ts";
import { table } from "../support/table.ts";
import type { handlers as writerHandlers } from "./writer.ts";

const RATE = 1_000;
const BYTES = 10_000;

/** What a stalled Redis does to a process that writes, and what of it is executed afterwards. */
export async function measureMemory(seconds: number): Promise<object> {
  const figures: Record<string, object> = {};
  const rows: string[][] = [];
  for (const contender of ["connect-redis", "ours"] as const) {
    const redis = await startRedis({ own: true });
    const direct = await createClient({ url: redis.url }).connect();
    const file = new URL("writer.ts", import.meta.url);
    const writer = new Remote<typeof writerHandlers>(file, [redis.url, contender], ["--expose-gc"]);
    await writer.call("write", { rate: RATE, bytes: BYTES, forMs: 2_000 });
    await writer.call("settled");
    await direct.flushAll();
    const before = await writer.call("heapMb");
    await redis.pause();
    const most = await writer.call("write", { rate: RATE, bytes: BYTES, forMs: seconds * 1_000 });
    await redis.resume();
    await pause(5_000);
    const { writes, answered, refused, failed } = await writer.call("outcome");
    const executed = new Set((await direct.keys("sess:w*")).map((key) => key.replace("sess:", "")));
    const count = (sids: readonly string[]) => sids.filter((sid) => executed.has(sid)).length;
    const figure = {
      growthMb: most - before,
      writes,
      answered,
      refused: refused.length,
      refusedExecuted: count(refused),
      failed: failed.length,
      failedExecuted: count(failed),
      executed: executed.size,
    };
    figures[contender] = figure;
    rows.push([
      contender,
      short(figure.growthMb),
      ...[writes, refused.length, count(refused), failed.length, count(failed), executed.size].map(String),
    ]);
    await writer.end();
    await direct.close();
    await redis.stop();
  }
  console.log(`\nRedis stalled for ${seconds} s under ${RATE} writes/s of ${BYTES} bytes\n`);
  console.log(
    table(
      [
        "store",
        "heap, MB more",
        "writes",
        "refused",
        "of these executed",
        "failed",
        "of these executed",
        "executed in all",
      ],
      rows,
    ),
  );
  return figures;
}
