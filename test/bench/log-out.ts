// npm run bench:log-out [-- --quick]: how long after destroyAllOf some process still answers for a session of that user.
import { setTimeout as pause } from "node:timers/promises";
import { startProxy } from "../support/fault-proxy.ts";
import { startRedis } from "../support/redis-server.ts";
import type { handlers as nodeHandlers } from "./log-out/node.ts";
import { describe, machine } from "./support/machine.ts";
import { writeResults } from "./support/results.ts";
import { Remote } from "./support/rpc.ts";
import { short } from "./support/statistics.ts";
import { table } from "./support/table.ts";

const isQuick = process.argv.includes("--quick");
const NODES = 4;
const SESSIONS = 1_000;
/** Of each process: requests that have loaded a session before the end, and save it after. */
const IN_HAND = 25;
/** The default of `cluster.leaseMs`: until then the fourth may answer if it hears nothing. */
const LEASE_MS = 3_000;

const FAULTS = {
  none: { rounds: isQuick ? 3 : 10, waitMs: 300 },
  "the fourth's subscriber is cut": { rounds: isQuick ? 2 : 5, waitMs: 300 },
  "the fourth's subscriber is mute": { rounds: isQuick ? 2 : 5, waitMs: LEASE_MS + 1_000 },
} as const;

const server = await startRedis({ own: true });
const ranOn = machine(server.version, ["redis", "express-session"]);
console.log(`${describe(ranOn)}\n${NODES} processes, one user with ${SESSIONS} sessions\n`);

interface Outcome {
  /** From the call, and from its acknowledgement, to the last session that some process handed out; ms. */
  readonly fromCall: number;
  readonly fromAcknowledgement: number;
  /** How long `destroyAllOf` took, in ms. */
  readonly took: number;
  readonly answered: number;
  readonly survivors: number;
}

async function round(fault: keyof typeof FAULTS, number: number): Promise<Outcome> {
  const bus = await startProxy(server.url);
  const channel = `log-out-${Object.keys(FAULTS).indexOf(fault)}-${number}`;
  const nodes = Array.from({ length: NODES }, (_, i) => {
    const busUrl = i === NODES - 1 ? bus.url : server.url;
    const file = new URL("log-out/node.ts", import.meta.url);
    return new Remote<typeof nodeHandlers>(file, [server.url, busUrl, channel]);
  });
  const [first] = nodes as [Remote<typeof nodeHandlers>];
  await Promise.all(nodes.map((node) => node.call("live")));
  await first.call("logIn", SESSIONS);
  await Promise.all(nodes.map((node) => node.call("read", { count: SESSIONS, inHand: IN_HAND })));
  await pause(200);
  if (fault.endsWith("cut")) bus.refuse();
  else if (fault.endsWith("mute")) bus.swallow("toClient");
  const { calledAt, acknowledgedAt, deleted } = await first.call("logOutEverywhere");
  await Promise.all(nodes.map((node) => node.call("saveWhatIsInHand")));
  await pause(FAULTS[fault].waitMs);
  const seen = await Promise.all(nodes.map((node) => node.call("stop")));
  const survivors = await Promise.all(nodes.map((node) => node.call("survivors")));
  if (deleted !== SESSIONS) throw new Error(`${deleted} sessions were deleted instead of ${SESSIONS}`);
  await Promise.all(nodes.map((node) => node.end()));
  await bus.close();
  const last = seen.map(({ lastAnswer }) => BigInt(lastAnswer)).reduce((a, b) => (a > b ? a : b));
  const ms = (from: string, to: bigint) => Number(to - BigInt(from)) / 1e6;
  return {
    fromCall: ms(calledAt, last),
    fromAcknowledgement: ms(acknowledgedAt, last),
    took: ms(calledAt, BigInt(acknowledgedAt)),
    answered: seen.reduce((sum, one) => sum + one.answered, 0),
    survivors: survivors.reduce((sum, count) => sum + count, 0),
  };
}

const outcomes = new Map<string, Outcome[]>();
for (const [fault, { rounds }] of Object.entries(FAULTS)) {
  for (let number = 1; number <= rounds; number++) {
    const outcome = await round(fault as keyof typeof FAULTS, number);
    outcomes.set(fault, [...(outcomes.get(fault) ?? []), outcome]);
    console.error(`${fault}: round ${number} of ${rounds}`);
  }
}
await server.stop();

const medianAndMost = (all: readonly Outcome[], figure: (one: Outcome) => number) => {
  const sorted = all.map(figure).toSorted((a, b) => a - b);
  return `${short(sorted[Math.floor(sorted.length / 2)] as number)} (at most ${short(sorted.at(-1) as number)})`;
};
console.log(
  table(
    [
      "fault",
      "rounds",
      "destroyAllOf took, ms",
      "last answer after the call, ms",
      "after the acknowledgement, ms",
      "survivors",
    ],
    [...outcomes].map(([fault, all]) => [
      fault,
      String(all.length),
      medianAndMost(all, ({ took }) => took),
      medianAndMost(all, ({ fromCall }) => fromCall),
      medianAndMost(all, ({ fromAcknowledgement }) => fromAcknowledgement),
      String(all.reduce((sum, { survivors }) => sum + survivors, 0)),
    ]),
  ),
);
writeResults("log-out", { machine: ranOn, outcomes: Object.fromEntries(outcomes) }, isQuick);
