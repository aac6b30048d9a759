// npm run bench:fan-out [-- --quick]: what it costs that every process hears of every write, and how soon it does.
import { createClient } from "redis";
import { startRedis } from "../support/redis-server.ts";
import { fitLine, mostWrites } from "./fan-out/arithmetic.ts";
import type { handlers as nodeHandlers } from "./fan-out/node.ts";
import type { handlers as subscriberHandlers } from "./fan-out/subscribers.ts";
import { drawCurves } from "./support/line-chart.ts";
import { describe, machine } from "./support/machine.ts";
import { redisWork, since } from "./support/redis-info.ts";
import { writeResults } from "./support/results.ts";
import { Remote } from "./support/rpc.ts";
import { quantile, type Spread, short, shortSpread, spreadOf } from "./support/statistics.ts";
import { table } from "./support/table.ts";

const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 2 : 5;
const FOR_MS = isQuick ? 1_000 : 2_000;
const LATENCIES = isQuick ? 150 : 400;
const SUBSCRIBERS = [2, 10, 50, 100, 200];
const WRITES_PER_SECOND = [200, 1_000];
/** Of a core: what Redis may spend on writes and their messages, and a process on hearing them. */
const SHARE = { redis: 0.5, node: 0.1 };

interface FanOut {
  /** Redis's CPU for a write. */
  readonly redisUs: number;
  /** The hearing process's CPU for a message. */
  readonly nodeUs: number;
}

const here = (file: string) => new URL(`fan-out/${file}`, import.meta.url);
const server = await startRedis({ own: true });
const ranOn = machine(server.version, ["redis", "express-session"]);
console.log(`${describe(ranOn)}\n${ROUNDS} rounds; median (quartiles)`);
const redis = createClient({ url: server.url });
await redis.connect();
const looking = redis as unknown as Parameters<typeof redisWork>[0];
const writer = new Remote<typeof nodeHandlers>(here("node.ts"), [server.url]);
const listener = new Remote<typeof nodeHandlers>(here("node.ts"), [server.url]);
const others = new Remote<typeof subscriberHandlers>(here("subscribers.ts"), [server.url]);

/** The writer's and the listener's own subscriptions are among the subscribers. */
async function fanOut(subscribers: number, perSecond: number): Promise<FanOut> {
  await others.call("be", subscribers - 2);
  const before = await redisWork(looking);
  const { messages } = await listener.call("cpuAndMessages");
  const written = await writer.call("write", { perSecond, forMs: FOR_MS });
  const work = since(before, await redisWork(looking));
  const after = await listener.call("cpuAndMessages");
  return { redisUs: work.cpuUs / written, nodeUs: after.cpuUs / (after.messages - messages) };
}

async function latencies(): Promise<{ heard: number[]; pings: number[] }> {
  await others.call("be", 0);
  await listener.call("noteWhatYouHear");
  const { began, pings } = await writer.call("writeSlowly", LATENCIES);
  const heardAt = new Map(await listener.call("whatYouHeard"));
  const heard = began.map(([sid, at]) => Number(BigInt(heardAt.get(sid) ?? 0n) - BigInt(at)));
  return { heard: heard.map((ns) => ns / 1e6), pings: pings.map((ns) => ns / 1e6) };
}

const curves = new Map<string, FanOut[]>();
const took = { heard: [] as number[][], pings: [] as number[][] };
await fanOut(2, 1_000);
for (let round = 1; round <= ROUNDS; round++) {
  const { heard, pings } = await latencies();
  took.heard.push(heard.toSorted((a, b) => a - b));
  took.pings.push(pings.toSorted((a, b) => a - b));
  for (const subscribers of SUBSCRIBERS) {
    for (const perSecond of WRITES_PER_SECOND) {
      const key = `${subscribers}/${perSecond}`;
      curves.set(key, [...(curves.get(key) ?? []), await fanOut(subscribers, perSecond)]);
    }
  }
  console.error(`round ${round} of ${ROUNDS}`);
}
for (const remote of [writer, listener, others]) await remote.end();
redis.destroy();
await server.stop();

const spreadAt = (subscribers: number, perSecond: number, figure: (one: FanOut) => number): Spread =>
  spreadOf((curves.get(`${subscribers}/${perSecond}`) ?? []).map(figure));
const redisUs = (one: FanOut) => one.redisUs;
const nodeUs = (one: FanOut) => one.nodeUs;
const fastest = WRITES_PER_SECOND.at(-1) as number;

console.log("\n### µs of CPU for each write, by the number of processes that subscribe\n");
console.log(
  table(
    ["processes", ...WRITES_PER_SECOND.flatMap((rate) => [`Redis, ${rate}/s`, `hearing process, ${rate}/s`])],
    SUBSCRIBERS.map((count) => [
      String(count),
      ...WRITES_PER_SECOND.flatMap((rate) => [
        shortSpread(spreadAt(count, rate, redisUs)),
        shortSpread(spreadAt(count, rate, nodeUs)),
      ]),
    ]),
  ),
);

const cost = fitLine(SUBSCRIBERS.map((count) => [count, spreadAt(count, fastest, redisUs).median]));
const perMessage = spreadOf(
  [...curves].flatMap(([key, all]) => (key.endsWith(`/${fastest}`) ? all.map(nodeUs) : [])),
);
console.log(
  `\nAt ${fastest} writes/s: Redis ${short(cost.at)} µs a write and ${short(cost.per)} µs for each process; ` +
    `a process ${shortSpread(perMessage)} µs a message.`,
);
console.log(
  `\n### Writes per second at which Redis spends ${100 * SHARE.redis} % of a core, a process ${100 * SHARE.node} %\n`,
);
console.log(
  table(
    ["processes", "Redis", "each process"],
    SUBSCRIBERS.map((count) => {
      const most = mostWrites(count, cost, perMessage.median, SHARE);
      return [String(count), short(most.redis), short(most.node)];
    }),
  ),
);

const at = (q: number, all: readonly number[][]) => spreadOf(all.map((sorted) => quantile(sorted, q)));
const latency = {
  "latency/p50": at(0.5, took.heard),
  "latency/p99": at(0.99, took.heard),
  "ping/p50": at(0.5, took.pings),
  "ping/p99": at(0.99, took.pings),
};
console.log(
  "\n### From the call of set to the event in another process, ms; and a PING between the writes\n",
);
console.log(
  table(
    ["", "p50", "p99"],
    [
      ["invalidation heard", shortSpread(latency["latency/p50"]), shortSpread(latency["latency/p99"])],
      ["PING", shortSpread(latency["ping/p50"]), shortSpread(latency["ping/p99"])],
    ],
  ),
);
writeResults("fan-out", {
  machine: ranOn,
  rounds: ROUNDS,
  curves: Object.fromEntries(curves),
  redisUsPerWrite: cost,
  nodeUsPerMessage: perMessage,
  spreads: latency,
});
drawCurves(
  "fan-out",
  "What a write costs when more processes subscribe",
  { x: "processes that subscribe", y: "µs of CPU for each write" },
  [
    {
      label: "Redis",
      kind: "third",
      points: SUBSCRIBERS.map((count) => [count, spreadAt(count, fastest, redisUs)]),
    },
    {
      label: "each hearing process",
      kind: "ours",
      points: SUBSCRIBERS.map((count) => [count, spreadAt(count, fastest, nodeUs)]),
    },
  ],
);
