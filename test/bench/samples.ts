import type { ContenderName } from "./contender/stores.ts";
import type { Mix, Scene } from "./plan.ts";
import { nameOf } from "./plan.ts";
import { type Spread, spreadOf } from "./support/statistics.ts";

/** What one turn gave for one contender in one scene and mix, each for one request unless it says otherwise. */
export interface Sample {
  /** One after another: from the call of the middleware to the end of the response. */
  readonly wallUs: number;
  /** The same, in CPU of the process. */
  readonly cpuUs: number;
  /** 16 at a time: requests per second. */
  readonly perSecond: number;
  /** Redis commands without heartbeats; "all" is their sum. */
  readonly commands: Readonly<Record<string, number>>;
  readonly heartbeats: number;
  readonly redisCpuUs: number;
}

/** What one round gave over HTTP. */
export interface HttpSample {
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
  readonly loopDelayMs: number;
}

/** All turns' samples, by contender and where they were taken. */
export class Samples<S> {
  readonly #taken = new Map<string, S[]>();

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

  toJSON(): object {
    return Object.fromEntries(this.#taken);
  }
}

export const whereOf = (scene: Scene, mix: Mix): string => `${nameOf(scene)}/${mix}`;
