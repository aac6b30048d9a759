/** How far away Redis is. */
export type Distance = "loopback" | "1 ms away";

/** What the requests of one measurement meet. */
export interface Scene {
  readonly distance: Distance;
  readonly bytes: number;
  readonly maxAgeMs: number | null;
}

/** The part of the requests that write, by the name of the mix. */
export const MIXES = { "read-only": 0, "90/10": 0.1, "50/50": 0.5 } as const;

export type Mix = keyof typeof MIXES;

export const MIX_NAMES: readonly Mix[] = Object.keys(MIXES) as Mix[];

export interface Plan {
  readonly rounds: number;
  /** How often the contenders take turns in each scene and mix of a round: short turns, so that all meet the same weather. */
  readonly slices: number;
  readonly httpRounds: number;
  readonly scenes: readonly Scene[];
  readonly warmUpMs: number;
  readonly sequentialMs: number;
  readonly concurrentMs: number;
  readonly lightMs: number;
  readonly fullMs: number;
  readonly cachedSessions: number;
}

const HOUR_MS = 3_600_000;

const scenesAt = (distance: Distance): Scene[] => [
  { distance, bytes: 1_000, maxAgeMs: HOUR_MS },
  { distance, bytes: 1_000, maxAgeMs: null },
  { distance, bytes: 10_000, maxAgeMs: HOUR_MS },
];

export function planFor(isQuick: boolean): Plan {
  const scenes = [...scenesAt("loopback"), ...scenesAt("1 ms away")];
  const common = { lightMs: 1_000, fullMs: 1_000, cachedSessions: 10_000 };
  return isQuick
    ? {
        ...common,
        rounds: 2,
        slices: 4,
        httpRounds: 1,
        scenes: scenes.filter(({ bytes, maxAgeMs }) => bytes === 1_000 && maxAgeMs !== null),
        warmUpMs: 100,
        sequentialMs: 80,
        concurrentMs: 40,
      }
    : {
        ...common,
        rounds: 3,
        slices: 5,
        httpRounds: 3,
        scenes,
        warmUpMs: 100,
        sequentialMs: 90,
        concurrentMs: 50,
      };
}

export function nameOf({ distance, bytes, maxAgeMs }: Scene): string {
  return `Redis ${distance === "loopback" ? "on loopback" : distance}, ${bytes / 1000} KB, ${maxAgeMs === null ? "no maxAge" : "maxAge"}`;
}

/** The scene that targets and plots are about. */
export const isMain = ({ bytes, maxAgeMs }: Scene): boolean => bytes === 1_000 && maxAgeMs !== null;
