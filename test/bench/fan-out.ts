// npm run bench:fan-out [-- --quick]: what a write costs Redis and the processes that cache its session, and how soon they hear of it.
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
const PER_SECOND = 1_000;
const LATENCIES = isQuick ? 150 : 400;
const ONE_OFF = isQuick ? 5_000 : 20_000;
const PROCESSES = [2, 10, 50, 200];
/** Of a core: what Redis may spend on writes and their messages, and a process on hearing them. */
const SHARE = { redis: 0.5, node: 0.1 };

/** How many processes cache each session; "shared" is one channel for all, as before, for comparison. */
const MODES = ["shared", "one", "three", "all"] as const;
type Mode = (typeof MODES)[number];
const cachingIn = (mode: Mode, processes: number) =>
  ({ shared: 0, one: 1, three: Math.min(3, processes), all: processes })[mode];

interface FanOut {
  /** Redis's CPU for a write. */
  readonly redisUs: number;
  /** CPU of a process other than the writer for a write. */
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
await writer.call("fill");
const sessions = await writer.call("channels");

/** The writer caches what it writes, and the listener if anybody else does. */
async function fanOut(mode: Mode, processes: number): Promise<FanOut> {
  const caching = cachingIn(mode, processes);
  const sharedChannel = mode === "shared" ? { sharedChannel: "all" } : {};
  const shared = mode === "shared" ? ["all"] : ["fan"];
  await others.call("be", { count: processes - 2, shared, sessions, caching: caching - 2 });
  await listener.call(caching >= 2 ? "cacheAll" : "cacheNone");
  const before = await redisWork(looking);
  await listener.call("cpuAndMessages");
  const written = await writer.call("write", { perSecond: PER_SECOND, forMs: FOR_MS, ...sharedChannel });
  const work = since(before, await redisWork(looking));
  const { cpuUs } = await listener.call("cpuAndMessages");
  return { redisUs: work.cpuUs / written, nodeUs: cpuUs / written };
}

/** Redis's memory for a subscription to a session that so many processes cache, in bytes. */
async function bytesPerSubscription(caching: number): Promise<number> {
  const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
  await writer.call("cacheNone");
  await listener.call("cacheNone");
  await others.call("be", { count: caching, shared: ["fan"], sessions, caching: 0 });
  const before = await used();
  await others.call("be", { count: caching, shared: ["fan"], sessions, caching });
  // What a connection reads and writes through does not belong to it for long.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  return ((await used()) - before) / (caching * sessions.length);
}

async function readOnce(isPlain: boolean): Promise<FanOut> {
  const before = await redisWork(looking);
  await listener.call("cpuAndMessages");
  const count = await listener.call("readOnce", { count: ONE_OFF, isPlain });
  const work = since(before, await redisWork(looking));
  const { cpuUs } = await listener.call("cpuAndMessages");
  return { redisUs: work.cpuUs / count, nodeUs: cpuUs / count };
}

async function latencies(): Promise<{ heard: number[]; pings: number[] }> {
  await others.call("be", { count: 0, shared: [], sessions: [], caching: 0 });
  await listener.call("cacheAll");
  await listener.call("noteWhatYouHear");
  const { began, pings } = await writer.call("writeSlowly", LATENCIES);
  const heardAt = new Map(await listener.call("whatYouHeard"));
  const heard = began.map(([sid, at]) => Number(BigInt(heardAt.get(sid) ?? 0n) - BigInt(at)));
  return { heard: heard.map((ns) => ns / 1e6), pings: pings.map((ns) => ns / 1e6) };
}

const curves = new Map<string, FanOut[]>();
const add = (key: string, one: FanOut) => curves.set(key, [...(curves.get(key) ?? []), one]);
const took = { heard: [] as number[][], pings: [] as number[][] };
await fanOut("all", 2);
for (let round = 1; round <= ROUNDS; round++) {
  const { heard, pings } = await latencies();
  took.heard.push(heard.toSorted((a, b) => a - b));
  took.pings.push(pings.toSorted((a, b) => a - b));
  for (const processes of PROCESSES) {
    for (const mode of MODES) add(`${mode}/${processes}`, await fanOut(mode, processes));
  }
  await listener.call("cacheNone");
  for (const isPlain of [false, true])
    add(isPlain ? "plain reads" : "one-off reads", await readOnce(isPlain));
  console.error(`round ${round} of ${ROUNDS}`);
}
const memory = [];
for (const caching of [1, 3, 100]) memory.push([caching, await bytesPerSubscription(caching)] as const);
for (const remote of [writer, listener, others]) await remote.end();
redis.destroy();
await server.stop();

const redisUs = (one: FanOut) => one.redisUs;
const nodeUs = (one: FanOut) => one.nodeUs;
const spreadAt = (key: string, figure: (one: FanOut) => number): Spread =>
  spreadOf((curves.get(key) ?? []).map(figure));

console.log(`\n### µs of CPU for each write, ${PER_SECOND} writes/s, by the number of processes\n`);
const NAMES = { shared: "one channel for all", one: "one caches it", three: "three do", all: "all do" };
console.log(
  table(
    [
      "processes",
      ...MODES.map((mode) => `Redis, ${NAMES[mode]}`),
      "a process that caches it",
      "one that does not",
    ],
    PROCESSES.map((count) => [
      String(count),
      ...MODES.map((mode) => shortSpread(spreadAt(`${mode}/${count}`, redisUs))),
      shortSpread(spreadAt(`all/${count}`, nodeUs)),
      shortSpread(spreadAt(`one/${count}`, nodeUs)),
    ]),
  ),
);

const points = PROCESSES.flatMap((count) =>
  (["one", "three", "all"] as const).map(
    (mode) => [cachingIn(mode, count), spreadAt(`${mode}/${count}`, redisUs).median] as const,
  ),
);
const cost = fitLine(points);
const perMessage = spreadAt(`all/${PROCESSES.at(-1)}`, nodeUs);
console.log(
  `\nRedis: ${short(cost.at)} µs a write and ${short(cost.per)} µs for each process that caches the session; ` +
    `such a process: ${shortSpread(perMessage)} µs.`,
);
console.log(
  `\n### Writes per second at which Redis spends ${100 * SHARE.redis} % of a core, a caching process ${100 * SHARE.node} %\n`,
);
console.log(
  table(
    ["processes that cache the session", "Redis", "each process"],
    [1, 3, 10, 50, 200, 1_000].map((count) => {
      const most = mostWrites(count, cost, perMessage.median, SHARE);
      return [String(count), short(most.redis), short(most.node)];
    }),
  ),
);

console.log("\n### A session that is read once, µs of CPU\n");
console.log(
  table(
    ["", "Redis", "the process"],
    ["one-off reads", "plain reads"].map((key) => [
      key,
      shortSpread(spreadAt(key, redisUs)),
      shortSpread(spreadAt(key, nodeUs)),
    ]),
  ),
);
console.log("\n### Bytes of Redis for a subscription, by the processes that cache the session\n");
console.log(
  table(
    ["processes", "bytes"],
    memory.map(([caching, bytes]) => [String(caching), short(bytes)]),
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
writeResults(
  "fan-out",
  {
    machine: ranOn,
    rounds: ROUNDS,
    curves: Object.fromEntries(curves),
    redisUsPerWrite: cost,
    nodeUsPerMessage: perMessage,
    bytesPerSubscription: memory,
    spreads: latency,
  },
  isQuick,
);
drawCurves(
  "fan-out",
  "What a write costs Redis when more processes run",
  { x: "processes", y: "µs of Redis's CPU for each write" },
  [
    {
      label: "one channel for all",
      kind: "third",
      points: PROCESSES.map((count) => [count, spreadAt(`shared/${count}`, redisUs)]),
    },
    {
      label: "own channels, three cache it",
      kind: "ours",
      points: PROCESSES.map((count) => [count, spreadAt(`three/${count}`, redisUs)]),
    },
  ],
);
