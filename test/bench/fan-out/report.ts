import { describe, type Machine } from "../support/machine.ts";
import { type Spread, short, shortSpread, spreadOf } from "../support/statistics.ts";
import { table } from "../support/table.ts";
import { type Costs, type Fleet, fitLine, type Limits, mostDeletions, mostWrites } from "./arithmetic.ts";
import {
  CLUSTER_MODES,
  type Cost,
  cachingIn,
  IN_FLIGHT,
  MODES,
  MOST_PROCESSES,
  PROCESSES,
  READ_KINDS,
} from "./plan.ts";

export interface FanOutResults {
  readonly machine: Machine;
  readonly rounds: number;
  /** By what was measured, one for each round. */
  readonly costs: Readonly<Record<string, readonly Cost[]>>;
  /** By how many processes cache each session. */
  readonly bytesPerSubscription: readonly (readonly [caching: number, bytes: number])[];
  readonly spreads: Readonly<Record<"latency/p50" | "latency/p99" | "ping/p50" | "ping/p99", Spread>>;
}

/** Redis may spend half of a core on writes and their messages, and a process a tenth of one on receiving them. */
const FLEET = { processes: 1_000, redisShare: 0.5, processShare: 0.1 };
const ONE_REDIS: Fleet = { ...FLEET, shards: 1 };
const TEN_SHARDS: Fleet = { ...FLEET, shards: 10 };

const count = (value: number) => value.toLocaleString("en-US");

type Figure = (cost: Cost) => number;
const nodeUs: Figure = (cost) => cost.nodeUs;
const ownerUs: Figure = ({ redisUs: [owner = 0] }) => owner;
const redisUs: Figure = (cost) => cost.redisUs.reduce((sum, us) => sum + us, 0);
const otherUs: Figure = (cost) => (redisUs(cost) - ownerUs(cost)) / (cost.redisUs.length - 1);

/** The parts of docs/guides/benchmarks.md that a run writes, by name. */
export function report(results: FanOutResults): Readonly<Record<string, string>> {
  const costs = new CostsOfRun(results.costs);
  const { machine, rounds } = results;
  return {
    "fan out": [
      `Measured on ${machine.date}: ${describe(machine)}; ${rounds} rounds; medians (quartiles).`,
      oneRedis(costs),
    ].join("\n\n"),
    "fan out Cluster": inCluster(costs),
    "fan out limits": limits(costs),
    "fan out misses": misses(costs),
    "fan out subscriptions": subscriptions(results),
  };
}

class CostsOfRun {
  readonly #costs: FanOutResults["costs"];

  constructor(costs: FanOutResults["costs"]) {
    this.#costs = costs;
  }

  all(key: string, figure: Figure): readonly number[] {
    return (this.#costs[key] ?? []).map(figure);
  }

  spread(key: string, figure: Figure): Spread {
    return spreadOf(this.all(key, figure));
  }

  text(key: string, figure: Figure): string {
    return shortSpread(this.spread(key, figure));
  }

  /** The median of the rounds' ratios. */
  ratio(key: string, base: string, figure: Figure): string {
    const bases = this.all(base, figure);
    return `${short(spreadOf(this.all(key, figure).map((us, i) => us / (bases[i] as number))).median)}×`;
  }

  /** What was measured with one Redis, or in a Cluster, for the arithmetic. */
  of(site: "single" | "cluster"): Costs {
    const counts = site === "single" ? PROCESSES : [MOST_PROCESSES];
    const points = counts.flatMap((processes) =>
      CLUSTER_MODES.map(
        (mode) =>
          [cachingIn(mode, processes), this.spread(`${site}/${mode}/${processes}`, ownerUs).median] as const,
      ),
    );
    const idle = this.all("cluster/idle", otherUs);
    const more = this.all(`cluster/three/${MOST_PROCESSES}`, otherUs).map(
      (us, i) => us - (idle[i] as number),
    );
    return {
      write: fitLine(points),
      elsewhere: Math.max(0, spreadOf(more).median),
      message: this.spread(`${site}/all/${MOST_PROCESSES}`, nodeUs).median,
    };
  }
}

const NAMES = { shared: "one channel for all", one: "one caches it", three: "three do", all: "all do" };

function oneRedis(costs: CostsOfRun): string {
  const head = ["a process that caches it", "one that does not"];
  const most = `${MOST_PROCESSES}`;
  return [
    table(
      ["processes", ...MODES.map((mode) => `Redis, ${NAMES[mode]}`), ...head],
      PROCESSES.map((processes) => [
        String(processes),
        ...MODES.map((mode) => costs.text(`single/${mode}/${processes}`, ownerUs)),
        costs.text(`single/all/${processes}`, nodeUs),
        costs.text(`single/one/${processes}`, nodeUs),
      ]),
    ),
    `With ${most} processes, Redis's cost of a write is ${costs.ratio(`single/three/${most}`, `single/shared/${most}`, ownerUs)} that of one channel for all ` +
      `if three cache the session, and ${costs.ratio(`single/all/${most}`, `single/shared/${most}`, ownerUs)} if all do.`,
  ].join("\n\n");
}

function inCluster(costs: CostsOfRun): string {
  const row = (name: string, key: string, isCaching: boolean) => {
    const node = costs.text(key, nodeUs);
    return [
      name,
      costs.text(key, ownerUs),
      costs.text(key, otherUs),
      ...(isCaching ? [node, "–"] : ["–", node]),
    ];
  };
  return table(
    [
      `${MOST_PROCESSES} processes`,
      "the session's primary",
      "each other primary",
      "a process that caches it",
      "one that does not",
    ],
    [
      ...CLUSTER_MODES.map((mode) => row(NAMES[mode], `cluster/${mode}/${MOST_PROCESSES}`, mode !== "one")),
      row("nobody writes", "cluster/idle", false),
    ],
  );
}

function limits(costs: CostsOfRun): string {
  const [single, cluster] = [costs.of("single"), costs.of("cluster")];
  const { write, message } = single;
  const row = (name: string, one: Limits, ten: Limits) => [
    name,
    short(one.redis),
    short(ten.redis),
    short(one.processes),
    short(ten.processes),
  ];
  const writes = (caching: number) =>
    [mostWrites(caching, single, ONE_REDIS), mostWrites(caching, cluster, TEN_SHARDS)] as const;
  const [one, ten] = writes(3);
  const deletions = [mostDeletions(single, ONE_REDIS), mostDeletions(cluster, TEN_SHARDS)] as const;
  const before = {
    write: fitLine(
      PROCESSES.map((all) => [all, costs.spread(`single/shared/${all}`, ownerUs).median] as const),
    ),
    elsewhere: 0,
    message,
  };
  const least = ({ redis, processes }: Limits) => short(Math.min(redis, processes));
  return [
    `One Redis spends ${short(write.at)} µs on a write and ${short(write.per)} µs for each process that caches the session; such a process spends ${short(message)} µs on a message. ` +
      `In the Cluster, these are ${short(cluster.write.at)}, ${short(cluster.write.per)} and ${short(cluster.message)} µs, and each other primary spends ${short(cluster.elsewhere)} µs more than while nobody writes.`,
    table(
      [
        `per second, ${count(FLEET.processes)} processes`,
        "one Redis",
        "ten shards",
        "the processes, one Redis",
        "the processes, ten shards",
      ],
      [
        ...[1, 3, 10, 50, 200, FLEET.processes].map((caching) =>
          row(`writes, ${count(caching)} cache${caching === 1 ? "s" : ""} the session`, ...writes(caching)),
        ),
        row("deletions", ...deletions),
      ],
    ),
    `With ${count(FLEET.processes)} processes, of which three cache each session, the limit is ${least(one)} writes per second with one Redis, and ${least(ten)} in a Cluster of ten shards. ` +
      `On one channel for all, it would be ${least(mostDeletions(before, ONE_REDIS))}. Deletions, which all processes receive, have a limit of ${least(deletions[0])} and ${least(deletions[1])}.`,
  ].join("\n\n");
}

function misses(costs: CostsOfRun): string {
  const both = (ratio: (figure: Figure) => string) => `${ratio(redisUs)} / ${ratio(nodeUs)}`;
  const rows = IN_FLIGHT.flatMap((inFlight) =>
    (["single", "cluster"] as const).flatMap((site) =>
      READ_KINDS.map((kind) => {
        const key = `${site}/${kind}/${inFlight}`;
        const [read, one] = [`${site}/store's read/${inFlight}`, `single/${kind}/${inFlight}`];
        return [
          `${inFlight} in flight, ${site === "single" ? "one Redis" : "Cluster"}: ${kind}`,
          costs.text(key, redisUs),
          costs.text(key, nodeUs),
          both((figure) => costs.ratio(key, read, figure)),
          both((figure) => costs.ratio(key, one, figure)),
        ];
      }),
    ),
  );
  return table(
    ["µs of CPU", "Redis", "the process", "both, to the store's read", "both, to one Redis"],
    rows,
  );
}

function subscriptions({ bytesPerSubscription, spreads }: FanOutResults): string {
  return [
    table(
      ["processes that cache the session", "bytes of Redis for a subscription"],
      bytesPerSubscription.map(([caching, bytes]) => [String(caching), short(bytes)]),
    ),
    "From the call of `set` to the event in another process, and a PING between the writes, ms:",
    table(
      ["", "p50", "p99"],
      [
        ["invalidation received", shortSpread(spreads["latency/p50"]), shortSpread(spreads["latency/p99"])],
        ["PING", shortSpread(spreads["ping/p50"]), shortSpread(spreads["ping/p99"])],
      ],
    ),
  ].join("\n\n");
}
