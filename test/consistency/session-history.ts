import type { OperationRecord } from "./protocol.ts";
import type { RedisEvent } from "./redis-record.ts";

/** A state of a session in Redis, from the moment `at` until the next one. */
export interface State {
  readonly index: number;
  /** The version written; null for no session. */
  readonly value: number | null;
  readonly text: string | undefined;
  readonly at: number;
  /** When its writer was told; when it was carried out, if it never was. Nobody may be behind this one for longer than the lease. */
  readonly knownAt: number;
  /** It came about behind the stores' backs, so that nobody was told. */
  readonly isSilent: boolean;
  readonly by: OperationRecord | undefined;
  readonly cause: RedisEvent["kind"];
  /** Whose session it is, if it has an owner. */
  readonly owner?: string | undefined;
}

/** An end of a key, from the moment `at` until it gets another. */
export interface KeyEnd {
  readonly at: number;
  readonly endsAt: number;
  /** Whose command set it. */
  readonly node: number | undefined;
}

/** What a primary that another had replaced answered a read. */
export interface OutdatedAnswer {
  readonly node: number | undefined;
  readonly value: number | null;
  readonly at: number;
}

/** A session's states in the order in which Redis went through them. */
export class SessionHistory {
  readonly states: State[] = [];
  readonly #indexes = new Map<number, number[]>();
  /** Empty where ends are not recorded. */
  readonly ends: KeyEnd[] = [];
  readonly outdated: OutdatedAnswer[] = [];
  /** The ends of each state's key, if they are recorded. */
  readonly #endsOf = new Map<number, KeyEnd[]>();

  readonly sid: string;

  constructor(sid: string) {
    this.sid = sid;
    this.push({
      value: null,
      text: undefined,
      at: Number.NEGATIVE_INFINITY,
      knownAt: Number.NEGATIVE_INFINITY,
      isSilent: false,
      by: undefined,
      cause: "flush",
    });
  }

  get last(): State {
    return this.states[this.states.length - 1] as State;
  }

  push(state: Omit<State, "index">): void {
    const index = this.states.length;
    this.states.push({ ...state, index });
    if (state.value === null) return;
    const indexes = this.#indexes.get(state.value);
    if (indexes === undefined) this.#indexes.set(state.value, [index]);
    else indexes.push(index);
  }

  /** The key of the last state has got an end. */
  expires(end: KeyEnd): void {
    this.ends.push(end);
    const ends = this.#endsOf.get(this.last.index);
    if (ends === undefined) this.#endsOf.set(this.last.index, [end]);
    else ends.push(end);
  }

  /** The ends that the key had while it was in that state; undefined if they are not recorded. */
  endsOf(index: number): readonly KeyEnd[] | undefined {
    return this.#endsOf.get(index);
  }

  /** The states that there were at some time between the two. */
  between(from: number, to: number): readonly State[] {
    return this.states.filter(
      ({ at, index }) => at <= to && (this.states[index + 1]?.at ?? Number.POSITIVE_INFINITY) >= from,
    );
  }

  /** The index of the first state in which the session was of that version. */
  indexOf(version: number): number | undefined {
    return this.#indexes.get(version)?.[0];
  }

  /** The latest state of that version that there was by then: a failover may have brought it back. */
  lastOf(version: number, by: number): number | undefined {
    const indexes = this.#indexes.get(version);
    return indexes?.findLast((index) => (this.states[index] as State).at <= by) ?? indexes?.[0];
  }

  /** The first state of that version from that index on. */
  firstOf(version: number, from: number): number | undefined {
    return this.#indexes.get(version)?.find((index) => index >= from);
  }

  /** The latest state without a session that there was by then. */
  lastNull(by: number): number | undefined {
    for (let i = this.states.length - 1; i >= 0; i--) {
      const { value, at } = this.states[i] as State;
      if (value === null && at <= by) return i;
    }
    return undefined;
  }

  /** The first state without a session from that index on. */
  firstNull(from: number): number | undefined {
    for (let i = from; i < this.states.length; i++) if (this.states[i]?.value === null) return i;
    return undefined;
  }

  /** Whether there was no session at some time between the two. */
  wasNull(from: number, to: number): boolean {
    return this.between(from, to).some(({ value }) => value === null);
  }
}
