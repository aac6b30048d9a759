/** The guarantees as the report names them. */
export const GUARANTEES = {
  staleness: "never behind an acknowledged write for longer than the lease",
  monotonic: "reads of a node never go back, and it reads its own writes at once",
  lost: "an acknowledged write was carried out, and what is read was written",
  order: "writes of a node to one session are carried out in the order of their calls",
  once: "no write is carried out twice",
  lifetime: "an acknowledged touch has set the key's end, within touchAfterMs",
  resurrection: "a destroyed session never comes back by a save",
  expiry: "no session is served after its key's end",
  copies: "what a request gets is its own",
  live: "no hit but while live",
  stale: "a stale session only while Redis does not answer, and none that the node has destroyed",
  merge: "no acknowledged key is lost (onConflict: merge)",
  found: "every living session of a value is found, and its index entry outlives it",
  banned: "every session that a ban found is dead, and no session of another",
  blocked: "no login, logout or regenerate fails because of the session's owner before",
  events: "destroyed and resurrection events report facts, and a live node reports every deletion",
  quiet: "once quiet, every cached entry is what Redis holds, byte for byte",
  rest: "callbacks exactly once, no unhandled rejection, everything at rest after the faults",
  record: "the checker's record of Redis is what Redis holds",
} as const;

export type Guarantee = keyof typeof GUARANTEES;

export interface Violation {
  readonly guarantee: Guarantee;
  readonly text: string;
  /** Whose history is to be shown, and from when to when. */
  readonly sid?: string;
  readonly from?: number;
  readonly to?: number;
}

export type Report = (violation: Violation) => void;
