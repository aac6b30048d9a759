import type { Counters } from "../reporting/counters.ts";
import type { Outage } from "./outage.ts";

/** Operations of one store that may be unanswered at the same time, and the bytes of what they write. */
const MAX_OPERATIONS = 10_000;
const MAX_OPERATION_BYTES = 16 * 1024 * 1024;
/** How much of that one primary of several may take: the others continue while it is stalled. */
const SHARE_OF_PRIMARY = 0.5;

/** What it depends on of a topology. */
interface Primaries {
  readonly outage: Outage;
  /** Whether there is only one. */
  readonly combinesKeys: boolean;
  primaryIdOf(sid: string): string | undefined;
}

/** What is unanswered. */
interface Load {
  /** The primary that it waits for, if there are several. */
  readonly primary: string | undefined;
  operations: number;
  bytes: number;
}

/**
 * Refuses operations that could only wait: while Redis is away, or while so many are unanswered that a stalled Redis
 * would fill the memory. What is refused has not been sent, and never will be.
 */
export class Admission {
  readonly #topology: Primaries;
  readonly #counters: Counters;
  readonly #total: Load = noLoad(undefined);
  /** Of the primaries of a Cluster that have any. */
  readonly #loads = new Map<string, Load>();

  constructor(topology: Primaries, counters: Counters) {
    this.#topology = topology;
    this.#counters = counters;
  }

  /** Why an operation must not begin; undefined if it may. @param bytes the size of what it writes */
  refuse(sid: string | undefined, bytes: number): string | undefined {
    const reason =
      this.#topology.outage.reason ?? excess(this.#total, bytes) ?? excess(this.#loadFor(sid), bytes);
    if (reason !== undefined) this.#counters.refusals++;
    return reason;
  }

  /** An operation begins. @returns to be passed to `leave` when it has settled, and not when its caller got a timeout */
  enter(sid: string | undefined, bytes: number): Load {
    const load = this.#loadFor(sid);
    if (load.primary !== undefined) this.#loads.set(load.primary, load);
    add(load, 1, bytes);
    if (load !== this.#total) add(this.#total, 1, bytes);
    return load;
  }

  leave(load: Load, bytes: number): void {
    add(load, -1, -bytes);
    if (load !== this.#total) add(this.#total, -1, -bytes);
    if (load.primary !== undefined && load.operations === 0) this.#loads.delete(load.primary);
  }

  #loadFor(sid: string | undefined): Load {
    const { combinesKeys: isAlone } = this.#topology;
    const primary = sid === undefined || isAlone ? undefined : this.#topology.primaryIdOf(sid);
    if (primary === undefined) return this.#total;
    return this.#loads.get(primary) ?? noLoad(primary);
  }
}

function noLoad(primary: string | undefined): Load {
  return { primary, operations: 0, bytes: 0 };
}

function add(load: Load, operations: number, bytes: number): void {
  load.operations += operations;
  load.bytes += bytes;
}

function excess({ primary, operations, bytes }: Load, more: number): string | undefined {
  const limit = primary === undefined ? 1 : SHARE_OF_PRIMARY;
  const where = primary === undefined ? "" : " by one of the primaries";
  if (operations >= limit * MAX_OPERATIONS) return `${operations} operations are unanswered${where}`;
  // A write that is larger than the limit may run alone; meanwhile, logouts and reads go on.
  if (more === 0 || bytes === 0 || bytes + more <= limit * MAX_OPERATION_BYTES) return undefined;
  return `writes of ${bytes} bytes are unanswered${where}`;
}
