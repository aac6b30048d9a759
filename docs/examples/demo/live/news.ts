import type { ClusterState } from "clustered-redis-store";
import type { Read } from "../measured.ts";

/** A session in the memory of a node. */
export interface CachedSession {
  /** Another one when it was read or written anew. */
  readonly entry: number;
  /** Not its id: whoever has that has the session. */
  readonly digest: string;
  readonly user: string | null;
  readonly theme: string | null;
  /** How long it has been there. */
  readonly ageMs: number;
}

/** How a node is. */
export interface Snapshot {
  readonly state: ClusterState;
  readonly leaseMs: number;
  /** Null when nothing is proven. */
  readonly leaseAgeMs: number | null;
  readonly hits: number;
  readonly misses: number;
  readonly published: number;
  readonly received: number;
  /** The newest come first, and not all are told. */
  readonly cached: readonly CachedSession[];
  readonly cacheSize: number;
  readonly cacheTtlMs: number;
  /** 0: nothing stale is served. */
  readonly staleIfErrorMs: number;
}

/** A request that a node has answered. */
export interface RequestNews {
  readonly type: "request";
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly read: Read;
  /** What express-session asked of the store. */
  readonly calls: number;
  readonly commands: number;
  readonly ms: number;
  readonly digest: string;
  /** Who the application took the visitor for, or why the request failed. */
  readonly seen: string;
  /** One of the visitors that the demo makes up, so that nobody wants to read of it. */
  readonly isTraffic: boolean;
  /** Sent by the account page itself, to show what a node answers. */
  readonly isLook: boolean;
}

/** What a node's store has told. */
export type StoreNews =
  | { readonly type: "live" }
  | { readonly type: "suspect" | "flush"; readonly reason: string }
  | { readonly type: "invalidate"; readonly digest: string; readonly from: string }
  | { readonly type: "resurrection"; readonly digest: string };

/** What main.ts learns of a node: most of it the node sends, its start and its end are seen from outside. */
export type NodeNews =
  | RequestNews
  | StoreNews
  | { readonly type: "listening"; readonly port: number }
  /** `background`: the commands since the last snapshot that no request sent. */
  | { readonly type: "snapshot"; readonly snapshot: Snapshot; readonly background: number }
  | { readonly type: "changed" }
  | { readonly type: "ended"; readonly how: string };

/** A node as the page shows it. */
export interface NodeView {
  readonly number: number;
  readonly status: "starting" | "up" | "down";
  readonly isCut: boolean;
  /** Why its subscriber cannot be cut; null when it can. */
  readonly uncuttable: string | null;
  readonly snapshot: Snapshot | null;
  /** The last request that somebody made here. */
  readonly last: RequestNews | null;
}

/** Since the start, or since somebody pressed Reset. */
export interface Totals {
  /** Requests that brought a session, or changed one: connect-redis sends commands for each. */
  readonly requests: number;
  /** Of these, those for which not one command was sent. */
  readonly saved: number;
  /** Redis commands sent for requests. */
  readonly commands: number;
  /** What connect-redis would have sent for them: one command for each call of a store's method. */
  readonly connectRedis: number;
  /** Commands that are sent whether there are requests or not: heartbeats and subscriptions. */
  readonly background: number;
}

/** All that the page shows but what moves. */
export interface PageState {
  readonly redis: {
    readonly version: string;
    readonly isPaused: boolean;
    /** Why it cannot be paused; null when it can. */
    readonly unpausable: string | null;
  };
  readonly nodes: readonly NodeView[];
  readonly hasTraffic: boolean;
  readonly totals: Totals;
}

export interface LogLine {
  /** Grows by one with each. */
  readonly id: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Undefined: of all. */
  readonly node: number | undefined;
  readonly tone: "plain" | "good" | "warn" | "bad";
  readonly text: string;
}

/** Something that moves on the page. */
export type Flight =
  /** Answered from memory. */
  | { readonly kind: "hit"; readonly node: number }
  /** Asked Redis, and got its answer. */
  | { readonly kind: "read"; readonly node: number }
  /** Sent a write with its message. */
  | { readonly kind: "write"; readonly node: number }
  /** Received a message of another node. */
  | { readonly kind: "received"; readonly node: number; readonly from: number };

/** What the server sends to each viewer, by the names of the events. */
export interface PageEvents {
  /** The first. `run` is another when the demo has been started anew. */
  readonly hello: { readonly run: string; readonly log: readonly LogLine[] };
  readonly state: PageState;
  readonly log: LogLine;
  readonly flight: Flight;
}
