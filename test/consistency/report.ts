import { build } from "hdr-histogram-js";
import type { FaultSpan } from "./faults.ts";
import { type Options, stalenessBoundMs } from "./options.ts";
import type { Rest } from "./protocol.ts";
import type { RoundResult } from "./round.ts";
import { GUARANTEES, type Guarantee } from "./violation.ts";

interface Percentiles {
  readonly writes: number;
  /** Writes that some node had not heard of at a read that began after they were known. */
  readonly seenLate: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export interface Summary {
  readonly seed: number;
  readonly rounds: number;
  /** Rounds with an index. */
  readonly indexedRounds: number;
  readonly operations: Record<string, { total: number; failed: number }>;
  readonly total: number;
  readonly hits: number;
  /** Reads that were answered with a stale session. */
  readonly staleReads: number;
  readonly faults: Record<string, number>;
  readonly staleness: { readonly calm: Percentiles; readonly faults: Percentiles };
  readonly boundMs: number;
  /** Reads that were answered by a primary that another had replaced. */
  readonly outdatedAnswers: number;
  readonly resurrectionsRefused: number;
  readonly fencedFills: number;
  readonly conflicts: number;
  readonly heapMiB: readonly number[];
  readonly violations: Record<Guarantee, number>;
}

/** What only a run with an index shows. */
const INDEXED: readonly Guarantee[] = ["found", "banned", "blocked"];

/** A write counts as written under faults if one was there within so many milliseconds of it. */
const NEAR_MS = 1_500;

/** Gathers what the rounds have shown; nothing of a round is kept but its figures. */
export class Reporter {
  readonly #options: Options;
  readonly #boundMs: number;
  #rounds = 0;
  #indexedRounds = 0;
  readonly #operations: Record<string, { total: number; failed: number }> = {};
  readonly #faults: Record<string, number> = {};
  readonly #calm: number[] = [];
  readonly #faulty: number[] = [];
  #hits = 0;
  #staleReads = 0;
  #outdatedAnswers = 0;
  #resurrections = 0;
  #fencedFills = 0;
  #conflicts = 0;
  #heapMiB: readonly number[] = [];
  readonly #violations = Object.fromEntries(Object.keys(GUARANTEES).map((key) => [key, 0])) as Record<
    Guarantee,
    number
  >;

  constructor(options: Options, leaseMs: number) {
    this.#options = options;
    this.#boundMs = stalenessBoundMs(options, leaseMs);
  }

  add(round: RoundResult): void {
    this.#rounds++;
    if (round.isIndexed) this.#indexedRounds++;
    for (const { kind, error, isHit, isStale } of round.operations) {
      const counts = this.#operations[kind] ?? { total: 0, failed: 0 };
      this.#operations[kind] = counts;
      counts.total++;
      if (error !== undefined) counts.failed++;
      if (isHit) this.#hits++;
      if (isStale && error === undefined) this.#staleReads++;
    }
    for (const { kind } of round.faults) this.#faults[kind] = (this.#faults[kind] ?? 0) + 1;
    for (const history of round.histories.sessions.values()) {
      this.#outdatedAnswers += history.outdated.length;
      for (const state of history.states) {
        if (state.index === 0 || state.isSilent) continue;
        const list = isNear(round.faults, state.at) ? this.#faulty : this.#calm;
        list.push(round.staleness.get(state) ?? 0);
      }
    }
    // The processes count from their own start on; what those counted that were killed is gone.
    const sum = (count: (rest: Rest) => number) =>
      round.rests.reduce((total, rest) => total + count(rest), 0);
    this.#resurrections = sum(({ resurrections }) => resurrections);
    this.#fencedFills = sum(({ fencedFills }) => fencedFills);
    this.#conflicts = sum(({ conflicts }) => conflicts);
    this.#heapMiB = round.rests.map(({ heapBytes }) => Math.round(heapBytes / 2 ** 20));
    for (const { guarantee } of round.violations) this.#violations[guarantee]++;
  }

  get summary(): Summary {
    return {
      seed: this.#options.seed,
      rounds: this.#rounds,
      indexedRounds: this.#indexedRounds,
      operations: this.#operations,
      total: Object.values(this.#operations).reduce((sum, { total }) => sum + total, 0),
      hits: this.#hits,
      staleReads: this.#staleReads,
      faults: this.#faults,
      staleness: { calm: percentiles(this.#calm), faults: percentiles(this.#faulty) },
      boundMs: this.#boundMs,
      outdatedAnswers: this.#outdatedAnswers,
      resurrectionsRefused: this.#resurrections,
      fencedFills: this.#fencedFills,
      conflicts: this.#conflicts,
      heapMiB: this.#heapMiB,
      violations: this.#violations,
    };
  }
}

export function printSummary(summary: Summary, options: Options): string {
  const { operations, faults, staleness, violations, total, hits, rounds, indexedRounds, seed } = summary;
  const share = operations["get"] === undefined ? 0 : (100 * hits) / operations["get"].total;
  const counts = Object.entries(operations).map(
    ([kind, { total, failed }]) => `${kind} ${total} (${failed} failed)`,
  );
  const made = Object.entries(faults).map(([kind, count]) => `${kind} ${count}`);
  const row = (name: string, { writes, seenLate, p50, p90, p99, max }: Percentiles) =>
    `  ${name.padEnd(14)} ${String(writes).padStart(8)} writes, ${String(seenLate).padStart(6)} seen late;` +
    [p50, p90, p99, max].map((ms, i) => `  ${["p50", "p90", "p99", "max"][i]} ${ms.toFixed(1)}`).join("");
  const kept = (Object.keys(GUARANTEES) as Guarantee[])
    .filter((key) => (options.merge || key !== "merge") && (indexedRounds > 0 || !INDEXED.includes(key)))
    .filter((key) => options.stale || key !== "stale")
    .map(
      (key) => `  ${violations[key] === 0 ? "✓" : `✗ ${violations[key]} times broken:`} ${GUARANTEES[key]}`,
    );
  return [
    `${total} operations in ${rounds} rounds, ${indexedRounds} of them with an index, on ${options.nodes} nodes, seed ${seed}`,
    `  ${counts.join(", ")}`,
    `  ${share.toFixed(1)} % of the reads were hits; ${summary.fencedFills} overtaken replies kept out, ` +
      `${summary.resurrectionsRefused} resurrections refused, ${summary.conflicts} conflicts merged`,
    `faults: ${made.length === 0 ? "none" : made.join(", ")}`,
    `for how long some node still read something older than a write, in ms after its acknowledgement (bound ${summary.boundMs}):`,
    row("calm", staleness.calm),
    row("under faults", staleness.faults),
    ...(summary.outdatedAnswers === 0
      ? []
      : [`reads that a replaced primary answered, which may be behind by more: ${summary.outdatedAnswers}`]),
    ...(options.stale ? [`reads answered with a stale session: ${summary.staleReads}`] : []),
    `memory at rest: ${summary.heapMiB.join(", ")} MiB`,
    ...kept,
  ].join("\n");
}

function isNear(faults: readonly FaultSpan[], at: number): boolean {
  return faults.some(({ from, to }) => at > from - NEAR_MS && at < to + NEAR_MS);
}

function percentiles(values: readonly number[]): Percentiles {
  const histogram = build();
  for (const ms of values) histogram.recordValue(Math.round(1000 * ms));
  const at = (percentile: number) => histogram.getValueAtPercentile(percentile) / 1000;
  const seenLate = values.reduce((count, value) => (value > 0 ? count + 1 : count), 0);
  return {
    writes: values.length,
    seenLate,
    p50: at(50),
    p90: at(90),
    p99: at(99),
    max: histogram.maxValue / 1000,
  };
}
