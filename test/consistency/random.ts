/** Random numbers that are the same for the same seed, whatever the timing: mulberry32, by Tommy Ettinger. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number from `from` up to, not including, `to`. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from));
  }

  /** The gap to the next event of a Poisson process. */
  gap(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  /** A key, as often as its weight says. */
  pick<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      left -= weight;
      if (left < 0) return key;
    }
    return (entries[0] as [K, number])[0];
  }
}

/** Chooses keys as often as their weights say, but leaves none to chance: it takes what is furthest behind its share. */
export class Turns {
  readonly #random: Random;
  /** How many times each should have been chosen by now, more than it was. */
  readonly #behind = new Map<string, number>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** @param isPossible whether a key can be chosen now; the others wait for their turns */
  next<K extends string>(
    weights: Readonly<Record<K, number>>,
    isPossible: (key: K) => boolean = () => true,
  ): K {
    const entries = Object.entries(weights) as [K, number][];
    const total = entries.reduce((sum, [, weight]) => sum + weight, 0);
    let [chosen] = entries[0] as [K, number];
    let most = Number.NEGATIVE_INFINITY;
    for (const [key, weight] of entries) {
      const behind = (this.#behind.get(key) ?? this.#random.next()) + weight / total;
      this.#behind.set(key, behind);
      if (behind > most && isPossible(key)) [chosen, most] = [key, behind];
    }
    this.#behind.set(chosen, most - 1);
    return chosen;
  }
}
