import type { ContenderName } from "./contender/names.ts";
import type { InFlight, Mix, Scene } from "./plan.ts";
import { nameOf } from "./plan.ts";
import { type Spread, spreadOf } from "./support/statistics.ts";

/** What one turn gave for one contender, for each request or write. */
export interface Cost {
  /** How long one took: with one in flight, from the call of the middleware to the end of the response. */
  readonly wallUs: number;
  /** CPU of the process. */
  readonly cpuUs: number;
  readonly redisCpuUs: number;
  /** Redis commands without heartbeats; "all" is their sum. */
  readonly commands: Readonly<Record<string, number>>;
}

export const wallUs = (cost: Cost): number => cost.wallUs;
export const cpuUs = (cost: Cost): number => cost.cpuUs;
export const redisCpuUs = (cost: Cost): number => cost.redisCpuUs;
export const commands = (cost: Cost): number => cost.commands["all"] ?? 0;

/** A turn, by how many requests are in flight. */
export type Sample = Readonly<Record<InFlight, Cost>>;

/** What one round gave over HTTP. */
export interface HttpSample {
  /** In ms, at light load. */
  readonly p50: number;
  readonly p99: number;
  /** At full load. */
  readonly perSecond: number;
  /** The 99th percentile of how late the event loop was at full load, in ms. */
  readonly loopDelayMs: number;
  /** CPU of the process at a fixed rate, the same for all, as a part of one core. */
  readonly steadyCores: number;
}

/** All turns' samples, by contender and where they were taken. */
export class Samples<S> {
  readonly #taken: Map<string, S[]>;

  /** @param json what `toJSON` returned */
  constructor(json: Readonly<Record<string, readonly S[]>> = {}) {
    this.#taken = new Map(Object.entries(json).map(([key, samples]) => [key, [...samples]]));
  }

  add(contender: ContenderName, where: string, sample: S): void {
    const key = `${where}/${contender}`;
    this.#taken.set(key, [...(this.#taken.get(key) ?? []), sample]);
  }

  /** One figure of the samples of all turns. */
  spread(contender: ContenderName, where: string, figure: (sample: S) => number): Spread {
    return spreadOf((this.#taken.get(`${where}/${contender}`) ?? []).map(figure));
  }

  /** How a figure compares with another contender's of the same turn. */
  ratio(
    contender: ContenderName,
    other: ContenderName,
    where: string,
    figure: (sample: S) => number,
  ): Spread {
    const mine = this.#taken.get(`${where}/${contender}`) ?? [];
    const theirs = this.#taken.get(`${where}/${other}`) ?? [];
    return spreadOf(mine.map((sample, i) => figure(sample) / figure(theirs[i] as S)));
  }

  toJSON(): Record<string, readonly S[]> {
    return Object.fromEntries(this.#taken);
  }
}

export const whereOf = (scene: Scene, mix: Mix): string => `${nameOf(scene)}/${mix}`;
