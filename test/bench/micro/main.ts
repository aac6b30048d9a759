// npm run bench:micro [-- --quick] [--only=cache/10000]: the parts by themselves, each contender and case in its own process.
import { startRedis } from "../../support/redis-server.ts";
import { resultOf } from "../support/child.ts";
import { describe, machine } from "../support/machine.ts";
import { writeResults } from "../support/results.ts";
import { type Spread, short, shortSpread, spreadOf } from "../support/statistics.ts";
import { table } from "../support/table.ts";
import { CACHE_CASES, CACHE_NAMES } from "./caches.ts";

const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 2 : 5;
const SIZES = [1_000, 4_000, 10_000];
const COPIES = ["cloneJson (ours)", "JSON.parse", "v8.deserialize", "structuredClone", "JSON.stringify"];
const OTHERS = ["message: encode", "message: decode", "fence: token"];
const HITS = { get: "store.get, hit", session: "store.get, hit, and createSession" };

interface Task {
  readonly key: string;
  readonly file: string;
  readonly args: readonly string[];
}

function tasks(redisUrl: string): Task[] {
  const caches = [10_000, 100_000].flatMap((entries) =>
    CACHE_CASES.flatMap((what) =>
      CACHE_NAMES.map((name) => ({
        key: `cache/${entries}/${what}/${name}`,
        file: "cache-case.ts",
        args: [name, what, String(entries)],
      })),
    ),
  );
  const copies = SIZES.flatMap((bytes) =>
    COPIES.map((what) => ({ key: `copy/${bytes}/${what}`, file: "copies.ts", args: [String(bytes), what] })),
  );
  const others = OTHERS.map((what) => ({ key: what, file: "copies.ts", args: ["1000", what] }));
  const hits = [1_000, 10_000].flatMap((bytes) =>
    Object.keys(HITS).map((what) => ({
      key: `hit/${bytes}/${what}`,
      file: "hit.ts",
      args: [redisUrl, String(bytes), what],
    })),
  );
  return [...caches, ...copies, ...others, ...hits];
}

const only = process.argv.find((arg) => arg.startsWith("--only="))?.slice("--only=".length);
const redis = await startRedis({ own: true });
const packages = ["lru-cache", "mnemonist", "quick-lru", "tiny-lru"];
const ranOn = machine(redis.version, packages);
console.log(`${describe(ranOn)}\n${ROUNDS} rounds; median (quartiles)\n`);
const measured = new Map<string, number[]>();
for (let round = 1; round <= ROUNDS; round++) {
  const start = performance.now();
  for (const { key, file, args } of tasks(redis.url)) {
    if (only !== undefined && !key.includes(only)) continue;
    const value = await resultOf<number>(new URL(file, import.meta.url), args);
    measured.set(key, [...(measured.get(key) ?? []), value]);
  }
  console.error(`round ${round} of ${ROUNDS}: ${short((performance.now() - start) / 1000)} s`);
}
await redis.stop();

const spreads = new Map<string, Spread>([...measured].map(([key, values]) => [key, spreadOf(values)]));
const cell = (key: string, per = 1) => {
  const spread = spreads.get(key);
  if (spread === undefined) return "";
  return shortSpread({ median: spread.median / per, low: spread.low / per, high: spread.high / per });
};

for (const entries of [10_000, 100_000]) {
  console.log(`\n${entries.toLocaleString("en-US")} entries, ns per operation; bytes per entry\n`);
  const rows = CACHE_NAMES.map((name) => [
    name,
    ...CACHE_CASES.map((what) => cell(`cache/${entries}/${what}/${name}`)),
  ]);
  const ratios = CACHE_CASES.map((what) => {
    const [ours, theirs] = ["ours", "lru-cache"].map((name) =>
      spreads.get(`cache/${entries}/${what}/${name}`),
    );
    return ours === undefined || theirs === undefined ? "" : short(ours.median / theirs.median);
  });
  console.log(table(["cache", ...CACHE_CASES], [...rows, ["ours / lru-cache", ...ratios]]));
}
console.log("\nA copy of a session, and its text, µs\n");
console.log(
  table(
    ["", ...SIZES.map((bytes) => `${bytes / 1000} KB`)],
    COPIES.map((what) => [what, ...SIZES.map((bytes) => cell(`copy/${bytes}/${what}`, 1000))]),
  ),
);
console.log("\nThe rest, ns\n");
console.log(
  table(
    ["", "ns"],
    OTHERS.map((what) => [what, cell(what)]),
  ),
);
console.log("\nstore.get, µs\n");
console.log(
  table(
    ["", "1 KB", "10 KB"],
    Object.entries(HITS).map(([what, name]) => [
      name,
      cell(`hit/1000/${what}`, 1000),
      cell(`hit/10000/${what}`, 1000),
    ]),
  ),
);
const results = { machine: ranOn, rounds: ROUNDS, spreads: Object.fromEntries(spreads) };
writeResults("micro", results, isQuick || only !== undefined);
