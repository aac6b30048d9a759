import { parseArgs } from "node:util";

export const TOPOLOGIES = ["single", "cluster", "sentinel"] as const;
export type Topology = (typeof TOPOLOGIES)[number];

export interface Options {
  readonly topology: Topology;
  readonly seed: number;
  readonly seconds: number;
  readonly nodes: number;
  /** Operations a second, of each node. */
  readonly rate: number;
  readonly faults: boolean;
  readonly merge: boolean;
  /** All nodes use pools, and each connection has a random delay in each direction. */
  readonly pool: boolean;
  /** In which rounds sessions have owners: with `indexBy`, listings, bans, logins and changes of owner. */
  readonly index: "all" | "half" | "none";
  /** `localCache.staleIfErrorMs` is set. */
  readonly stale: boolean;
  /** `cluster.tracking` is set, and others write sessions, too. */
  readonly tracking: boolean;
  readonly json: boolean;
  /** `localCache.ttlMs`. */
  readonly cacheTtlMs: number;
  /** What the measuring itself may add to the lease, in milliseconds. */
  readonly allowanceMs: number;
  /** Ends at the first violation. */
  readonly failFast: boolean;
}

const USAGE = `npm run check:consistency -- [options]

  --seed <n>         the schedule of operations and faults (default: a random one, which is printed)
  --seconds <n>      how long (default 60)
  --operations <n>   how long, in operations, instead of --seconds
  --topology <name>  single (default), cluster or sentinel
  --nodes <n>        processes (default 4)
  --rate <n>         operations a second of each process (default 200)
  --merge            with onConflict: "merge"
  --pool             all nodes use pools, with a random delay of each connection (only --topology single)
  --index            with indexBy, listings and bans in every round (not with --topology sentinel)
  --no-index         in none (default: in those with an even seed; with several servers, in none)
  --stale            with localCache.staleIfErrorMs
  --tracking         with cluster.tracking, and writes of others (only --topology single)
  --no-faults        without faults
  --cache-ttl <ms>   localCache.ttlMs (default 30000: so long that it cannot make up for a mistake)
  --allowance <ms>   what the measuring itself may add to the lease (default 50)
  --fail-fast        end at the first violation
  --json             the report as JSON`;

/** Without faults, within so many milliseconds a message has arrived, delays of connections included. */
const MESSAGE_MS = 100;

/** `localCache.staleIfErrorMs` with `--stale`: so short that it passes within many faults. */
export const STALE_MS = 1_500;

/** The most that a read may be behind an acknowledged write, in milliseconds: the lease, or without faults what a message takes. */
export function stalenessBoundMs({ faults, allowanceMs }: Options, leaseMs: number): number {
  return (faults ? leaseMs : MESSAGE_MS) + allowanceMs;
}

/** Whether a node waits for Redis for less than the lease. Such a one has a pool, so that hits are served while writes time out. */
export function isImpatient({ nodes }: Options, node: number): boolean {
  return node >= nodes / 2;
}

/** Whether a node has a pool, with one Redis. */
export function usesPool(options: Options, node: number): boolean {
  return options.pool || isImpatient(options, node);
}

/** Whether a node's cache is so small that sessions leave it all the time, and return. */
export function hasSmallCache(node: number): boolean {
  return node % 3 === 1;
}

/** Whether the round of that seed has an index. */
export function isIndexed({ index }: Options, seed: number): boolean {
  return index === "half" ? seed % 2 === 0 : index === "all";
}

/** @throws Error that says how it is used */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seed: { type: "string" },
      seconds: { type: "string" },
      operations: { type: "string" },
      topology: { type: "string" },
      nodes: { type: "string" },
      rate: { type: "string" },
      "no-faults": { type: "boolean" },
      merge: { type: "boolean" },
      pool: { type: "boolean" },
      index: { type: "boolean" },
      "no-index": { type: "boolean" },
      stale: { type: "boolean" },
      tracking: { type: "boolean" },
      json: { type: "boolean" },
      "cache-ttl": { type: "string" },
      allowance: { type: "string" },
      "fail-fast": { type: "boolean" },
      help: { type: "boolean" },
    },
  });
  if (values.help) throw new Error(USAGE);
  const number = (name: string, given: string | undefined, byDefault: number, least: number) => {
    const value = given === undefined ? byDefault : Number(given);
    if (Number.isFinite(value) && value >= least) return value;
    throw new Error(`--${name}: expected a number from ${least}, got ${given}\n\n${USAGE}`);
  };
  const topology = TOPOLOGIES.find((known) => known === (values.topology ?? "single"));
  if (topology === undefined) {
    throw new Error(`--topology: expected ${TOPOLOGIES.join(", ")}, got ${values.topology}\n\n${USAGE}`);
  }
  const topologiesOf = { pool: ["single"], index: ["single", "cluster"], tracking: ["single"] };
  for (const [name, possible] of Object.entries(topologiesOf)) {
    if (!values[name as keyof typeof topologiesOf] || possible.includes(topology)) continue;
    throw new Error(`--${name}: expected --topology ${possible.join(" or ")}, got ${topology}\n\n${USAGE}`);
  }
  if (values.index && values["no-index"]) throw new Error(`--no-index: not with --index\n\n${USAGE}`);
  const byDefault = topology === "single" && !values["no-index"] ? "half" : "none";
  const nodes = number("nodes", values.nodes, 4, 2);
  const rate = number("rate", values.rate, 200, 1);
  const operations = number("operations", values.operations, 0, 0);
  return {
    topology,
    seed: number("seed", values.seed, Math.floor(Math.random() * 1e9), 0),
    seconds: operations > 0 ? operations / (nodes * rate) : number("seconds", values.seconds, 60, 1),
    nodes,
    rate,
    faults: !values["no-faults"],
    merge: values.merge ?? false,
    pool: values.pool ?? false,
    index: values.index ? "all" : byDefault,
    stale: values.stale ?? false,
    tracking: values.tracking ?? false,
    json: values.json ?? false,
    cacheTtlMs: number("cache-ttl", values["cache-ttl"], 30_000, 1),
    allowanceMs: number("allowance", values.allowance, 50, 0),
    failFast: values["fail-fast"] ?? false,
  };
}

/** The command that plays one round again. */
export function replayCommand(options: Options, seed: number, seconds: number): string {
  const { topology, nodes, rate, cacheTtlMs } = options;
  const on = topology === "single" ? "" : ` --topology ${topology}`;
  const flags = (["merge", "pool", "stale", "tracking"] as const)
    .filter((name) => options[name])
    .map((name) => ` --${name}`);
  if (isIndexed(options, seed)) flags.push(" --index");
  else if (topology === "single") flags.push(" --no-index");
  const more = [on, ...flags, options.faults ? "" : " --no-faults"].join("");
  const ttl = cacheTtlMs === 30_000 ? "" : ` --cache-ttl ${cacheTtlMs}`;
  return `npm run check:consistency -- --seed ${seed} --seconds ${seconds} --nodes ${nodes} --rate ${rate}${more}${ttl}`;
}
