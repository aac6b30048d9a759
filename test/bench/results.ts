import type { ContenderName } from "./contender/names.ts";
import type { Distance, Plan } from "./plan.ts";
import type { HttpSample, Sample } from "./samples.ts";
import type { Silent } from "./silence.ts";
import type { Stalled } from "./stall.ts";
import type { Machine } from "./support/machine.ts";

/** How long one `set` takes, and one PING: medians in µs. */
export interface RoundTrips {
  readonly set: number;
  readonly ping: number;
}

/** What a run has measured, as it is in JSON: tables, pictures and targets are made from nothing else. */
export interface Results {
  readonly machine: Machine;
  readonly plan: Plan;
  /** One of each round. */
  readonly roundTrips: Readonly<Record<Distance, readonly RoundTrips[]>>;
  /** By scene, mix and contender. */
  readonly requests: Readonly<Record<string, readonly Sample[]>>;
  readonly writes: Readonly<Record<string, readonly Sample[]>>;
  // Not of a quick run:
  readonly http?: Readonly<Record<string, readonly HttpSample[]>>;
  readonly stalled?: Stalled;
  readonly silent?: Silent;
  /** Bytes of the process for each session that it has written and read. */
  readonly memory?: Readonly<Partial<Record<ContenderName, number>>>;
}
