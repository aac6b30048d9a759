/** How far away Redis is. */
export type Distance = "loopback" | "1 ms away";

/** What the requests of one measurement meet. */
export interface Scene {
  readonly distance: Distance;
  readonly bytes: number;
  readonly maxAgeMs: number | null;
}

/** The part of the requests that write, by the name of the mix. */
export const MIXES = { "read-only": 0, "90/10": 0.1, "50/50": 0.5, "write-only": 1 } as const;

export type Mix = keyof typeof MIXES;

export const MIX_NAMES: readonly Mix[] = Object.keys(MIXES) as Mix[];

/** How many requests, or writes, are in flight at the same time. */
export const IN_FLIGHT = [1, 8, 50] as const;

export type InFlight = (typeof IN_FLIGHT)[number];

/** So many where a table or a picture has one figure of the CPU of Redis. */
export const USUAL_IN_FLIGHT: InFlight = 8;

/** The mix of the requests over HTTP. */
export const HTTP_MIX: Mix = "90/10";

/** Requests per second at the rate that is the same for all: what a process answers with a third of its time. */
export const HTTP_STEADY_RATE = 500;

export interface Plan {
  readonly rounds: number;
  /** How often the contenders take turns in each scene and mix of a round: short turns, so that all meet the same weather. */
  readonly slices: number;
  /** 0 for nothing but requests without HTTP. */
  readonly httpRounds: number;
  readonly scenes: readonly Scene[];
  /** How long a turn takes with so many requests in flight. */
  readonly turnMs: Readonly<Record<InFlight, number>>;
  /** The same for writes alone: their garbage collections are a part of what they cost. */
  readonly writeTurnMs: Readonly<Record<InFlight, number>>;
}

const HOUR_MS = 3_600_000;

const SCENES: readonly Scene[] = [
  { distance: "loopback", bytes: 1_000, maxAgeMs: HOUR_MS },
  { distance: "1 ms away", bytes: 1_000, maxAgeMs: HOUR_MS },
  { distance: "loopback", bytes: 1_000, maxAgeMs: null },
  { distance: "loopback", bytes: 10_000, maxAgeMs: HOUR_MS },
];

export function planFor(isQuick: boolean): Plan {
  return isQuick
    ? {
        rounds: 1,
        slices: 4,
        httpRounds: 0,
        scenes: SCENES.filter(isMain),
        turnMs: { 1: 50, 8: 40, 50: 30 },
        writeTurnMs: { 1: 60, 8: 60, 50: 100 },
      }
    : {
        rounds: 3,
        slices: 5,
        httpRounds: 3,
        scenes: SCENES,
        turnMs: { 1: 60, 8: 30, 50: 40 },
        writeTurnMs: { 1: 100, 8: 100, 50: 200 },
      };
}

export function nameOf({ distance, bytes, maxAgeMs }: Scene): string {
  return `Redis ${distance === "loopback" ? "on loopback" : distance}, ${bytes / 1000} KB, ${maxAgeMs === null ? "no maxAge" : "maxAge"}`;
}

/** The scenes that targets, plots and the headline are about. */
export const isMain = ({ bytes, maxAgeMs }: Scene): boolean => bytes === 1_000 && maxAgeMs !== null;

export const MAIN: Readonly<Record<Distance, Scene>> = {
  loopback: SCENES[0] as Scene,
  "1 ms away": SCENES[1] as Scene,
};

/** The other scenes show what changes with them, in fewer mixes. */
export const mixesOf = (scene: Scene): readonly Mix[] => (isMain(scene) ? MIX_NAMES : ["read-only", "50/50"]);
