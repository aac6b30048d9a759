import { setTimeout as pause } from "node:timers/promises";
import { Remote } from "../support/rpc.ts";
import { short } from "../support/statistics.ts";
import { table } from "../support/table.ts";
import { KINDS, type Kind } from "./clients.ts";
import { askAll, startPlace } from "./place.ts";
import type { handlers as writerHandlers } from "./writer.ts";

const RATE = 1_000;
const BYTES = 10_000;
/** What was sent when Redis stopped has been executed by then, and what waits in a client has been sent. */
const AFTER_MS = 8_000;

/** What a stalled Redis does to a process that writes, and what of it is executed afterwards. */
export async function measureMemory(
  seconds: number,
  contenders: readonly (readonly [store: "connect-redis" | "ours", kind: Kind])[] = [
    ["connect-redis", "client"],
    ...KINDS.map((kind) => ["ours", kind] as const),
  ],
): Promise<object> {
  const figures: Record<string, object> = {};
  const rows: string[][] = [];
  for (const [store, kind] of contenders) {
    const { address, servers, stop } = await startPlace(kind);
    const file = new URL("writer.ts", import.meta.url);
    const writer = new Remote<typeof writerHandlers>(file, [kind, address, store], ["--expose-gc"]);
    await writer.call("write", { rate: RATE, bytes: BYTES, forMs: 2_000 });
    await writer.call("settled");
    await askAll(servers, "FLUSHALL");
    const before = await writer.call("heapMb");
    await Promise.all(servers.map((server) => server.pause()));
    const most = await writer.call("write", { rate: RATE, bytes: BYTES, forMs: seconds * 1_000 });
    await Promise.all(servers.map((server) => server.resume()));
    await writer.call("settled");
    await pause(AFTER_MS);
    const { writes, done, refused, failed, late } = await writer.call("outcome");
    const keys = (await askAll(servers, "KEYS", "sess:w*")) as string[][];
    const executed = new Set(keys.flat().map((key) => String(key).replace("sess:", "")));
    const count = (sids: readonly string[]) => sids.filter((sid) => executed.has(sid)).length;
    const figure = {
      growthMb: most - before,
      writes,
      done,
      refused: refused.length,
      refusedExecuted: count(refused),
      failed: failed.length,
      failedExecuted: count(failed),
      late: late.length,
      lateExecuted: count(late),
    };
    const { growthMb, ...counts } = figure;
    figures[`${store}, ${kind}`] = figure;
    rows.push([`${store}, ${kind}`, short(growthMb), ...Object.values(counts).map(String)]);
    await writer.end();
    await stop();
  }
  console.log(`\nRedis stalled for ${seconds} s under ${RATE} writes/s of ${BYTES} bytes\n`);
  const head = [
    "store, client",
    "heap, MB more",
    "writes",
    "done",
    "refused",
    "of these executed",
    "failed otherwise",
    "of these executed",
    "sent after they failed",
    "of these executed",
  ];
  console.log(table(head, rows));
  return figures;
}
