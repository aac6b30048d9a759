import { type Options, replayCommand } from "./options.ts";
import { LEASE } from "./protocol.ts";
import { Reporter, type Summary } from "./report.ts";
import type { Rig } from "./rig.ts";
import { type RoundResult, runRound } from "./round.ts";
import { SingleRig } from "./single-rig.ts";
import { TopologyRig } from "./topology/rig.ts";

/** With several servers a failover takes several seconds, and is to be one of several things that happen. */
const ROUND_MS = { single: 20_000, cluster: 50_000, sentinel: 50_000 } as const;

export interface CheckResult {
  readonly summary: Summary;
  /** What was broken, each with its history as far as it is shown, and how to see it again. */
  readonly violations: readonly string[];
}

/** Runs rounds, each from a seed of its own (the given one, and then those that follow it), until the time is over. */
export async function check(
  options: Options,
  progress: (line: string) => void = () => {},
): Promise<CheckResult> {
  const rig = await start(options);
  const reporter = new Reporter(options, LEASE[options.topology].leaseMs);
  const violations: string[] = [];
  try {
    const rounds = Math.max(1, Math.round((options.seconds * 1_000) / ROUND_MS[options.topology]));
    const ms = (options.seconds * 1_000) / rounds;
    for (let i = 0; i < rounds; i++) {
      const round = await runRound(rig, options, options.seed + i, ms);
      reporter.add(round);
      violations.push(...told(round, options));
      const { operations, faults } = round;
      progress(
        `round ${i + 1} of ${rounds}, seed ${round.seed}, ${round.isIndexed ? "with" : "without"} an index: ` +
          `${operations.length} operations, ` +
          `${faults.length} faults, ${round.violations.length} violations`,
      );
      if (options.failFast && violations.length > 0) break;
    }
  } finally {
    await rig.stop();
  }
  return { summary: reporter.summary, violations };
}

function start(options: Options): Promise<Rig> {
  const { topology } = options;
  return topology === "single" ? SingleRig.start(options) : TopologyRig.start(topology, options);
}

function told(round: RoundResult, options: Options): string[] {
  return round.violations.map(({ guarantee, text, sid, history }) => {
    const replay = replayCommand(options, round.seed, round.ms / 1_000);
    return [
      `✗ ${guarantee}: ${text}${sid === undefined ? "" : ` [${sid}]`}`,
      ...(history === undefined ? [] : [history]),
      `  again: ${replay}`,
    ].join("\n");
  });
}
