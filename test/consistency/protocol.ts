/** What the checker and its nodes say to each other. */

/**
 * `twice` saves a loaded session, and saves it again, changed back or changed further; `copy` saves a loaded session under
 * another id; `invalid` saves a loaded session for which `indexBy` throws; `regenerate` gives a loaded session a new id, and
 * saves it with the old owner or another; `cross` touches a loaded session while the same process writes it with another life;
 * `list` is `sessionsOf`, `ban` is `destroyAllOf`, and `sweep` is `destroyWhere`, for one session; `outside` writes past all
 * stores. The records name the calls: `get`, `save`, `set`, `touch`.
 */
export type OperationKind =
  | "get"
  | "set"
  | "touch"
  | "destroy"
  | "save"
  | "twice"
  | "copy"
  | "invalid"
  | "regenerate"
  | "cross"
  | "list"
  | "ban"
  | "sweep"
  | "outside"
  | "clear";

/** For a session of this owner, `indexBy` throws. */
export const UNKNOWN_OWNER = "unknown";
export const UNKNOWN_OWNER_ERROR = "The owner of the session is not known";

/** An operation as the schedule has it. */
export interface PlannedOperation {
  /** Milliseconds since the beginning of the round. */
  readonly at: number;
  readonly kind: OperationKind;
  /** Empty for a clear, a list and a ban. */
  readonly sid: string;
  /** Of the whole run; what a write writes carries it. */
  readonly version: number;
  /** How long the session is to live. */
  readonly lifeMs: number;
  /** From the call that loads a session until it is saved. */
  readonly thinkMs: number;
  /** Of a session with an owner: who that is to be; undefined to keep the one that it has. Of a list and a ban: whose. */
  readonly owner?: string;
  /** Of a copy: the session that is loaded. */
  readonly source?: string;
  /** Of a regenerate: the new id. */
  readonly newSid?: string;
  /** Of a cross: how long the session lives by what is written. */
  readonly otherLifeMs?: number;
  /** Of a twice. */
  readonly again?: Again;
}

export interface Again {
  /** What the second save writes; undefined for exactly what was loaded. */
  readonly version: number | undefined;
  /** It removes what the first has added. */
  readonly isRevert: boolean;
  /** It is called when the first has been answered; otherwise at once. */
  readonly isAwaited: boolean;
}

/** What a new session replaces. */
export interface Replaced {
  readonly sid: string;
  /** It and the new session have the same owner. */
  readonly keepsOwner: boolean;
  /** From the call of `regenerate` to its callback. */
  readonly from: number;
  readonly to: number;
}

/** An operation as its node saw it. Times are those of the common clock. */
export interface OperationRecord {
  readonly node: number;
  readonly kind: OperationKind;
  readonly sid: string;
  /** Of a write: what it wrote. */
  readonly version?: number;
  /** Of a save: the version that it had loaded. */
  readonly base?: number;
  /** Of a save that removes what an earlier one has added: that one's version. */
  readonly revertOf?: number;
  /**
   * Of a write: the cookie's `expires`, which no two writes of a node have in common. It tells a save that restores a version
   * from the write of that version, also if the save's own record is lost with its process. Undefined under merge, where the
   * cookie may be another writer's, and where no version is restored.
   */
  readonly stamp?: string;
  /** Of a save: it restores the version that was loaded. */
  readonly isRestore?: boolean;
  /** Of the save of a session that `regenerate` made. */
  readonly replaced?: Replaced;
  /** Of a list and a ban. */
  readonly owner?: string;
  /** Of a list: the sessions. */
  found?: readonly string[];
  /** Of a touch by an object: when it was loaded. */
  readonly loadedAt?: number;
  readonly lifeMs?: number;
  readonly invokedAt: number;
  answeredAt?: number;
  error?: string;
  /** Of a get without an error: the version, or null for no session. */
  result?: number | null;
  /** It was answered from memory. */
  isHit?: boolean;
  /** It was answered with a stale session, because Redis did not answer. */
  isStale?: boolean;
  /** What the node itself found to be wrong with it. */
  complaint?: string;
}

/** An event of a node's store. */
export interface EventRecord {
  readonly node: number;
  readonly at: number;
  readonly name: string;
  /** The session it is about; undefined if it is about all. */
  readonly sid?: string;
  readonly detail?: string;
}

export interface CachedEntry {
  readonly sid: string;
  readonly text: string;
  /** By the wall clock. */
  readonly expiresAt?: number;
}

/** How a node is when nothing is going on. */
export interface Rest {
  readonly entries: readonly CachedEntry[];
  /** Operations without an answer. */
  readonly pending: number;
  readonly health: {
    readonly redis: boolean;
    readonly subscribed: boolean;
    readonly tracking: boolean | null;
  };
  readonly heapBytes: number;
  readonly hits: number;
  readonly resurrections: number;
  readonly fencedFills: number;
  readonly conflicts: number;
}

/** Where a node's clients connect to. */
export type Access =
  | { readonly kind: "single"; readonly dataUrl: string; readonly busUrl: string; readonly pool: boolean }
  | { readonly kind: "cluster"; readonly rootNodes: readonly { url: string }[] }
  | {
      readonly kind: "sentinel";
      readonly name: string;
      readonly sentinelRootNodes: readonly { host: string; port: number }[];
    };

export interface Lease {
  readonly heartbeatMs: number;
  readonly leaseMs: number;
  readonly subscribeTimeoutMs: number;
}

export interface NodeSettings {
  readonly index: number;
  readonly clockOrigin: string;
  readonly access: Access;
  readonly lease: Lease;
  readonly prefix: string;
  readonly channel: string;
  /** Where the store is imported from. */
  readonly library: string;
  readonly label: string;
  readonly name: string;
  readonly merge: boolean;
  readonly asyncParse: boolean;
  readonly commandTimeoutMs: number;
  readonly cacheTtlMs: number;
  /** Undefined for the default. */
  readonly cacheSize: number | undefined;
  /** 0 without `--stale`. */
  readonly staleIfErrorMs: number;
  readonly isIndexed: boolean;
  readonly isTracked: boolean;
  /** Undefined for the default. */
  readonly touchAfterMs: number | undefined;
}

export type ToNode =
  | { readonly type: "start"; readonly settings: NodeSettings }
  | {
      readonly type: "play";
      readonly startedAt: number;
      readonly from: number;
      readonly operations: readonly PlannedOperation[];
    }
  | { readonly type: "perform"; readonly operation: PlannedOperation }
  | { readonly type: "settle" }
  | { readonly type: "reindex" }
  | { readonly type: "skip replies" }
  | { readonly type: "step clock"; readonly byMs: number }
  | { readonly type: "rest"; readonly sids: readonly string[]; readonly owners: readonly string[] };

export type FromNode =
  | { readonly type: "live" }
  | {
      readonly type: "records";
      readonly records: readonly OperationRecord[];
      readonly events: readonly EventRecord[];
    }
  | { readonly type: "settled"; readonly pending: number; readonly isLive: boolean }
  | { readonly type: "resting"; readonly rest: Rest }
  | { readonly type: "reindexed" }
  | { readonly type: "skipped" }
  | { readonly type: "complaint"; readonly text: string };

/** The label of a node. Two were given the same, as may well happen. */
export function labelOf(index: number): string {
  return index < 2 ? "twin" : `label-${index}`;
}

/** The limits of every node: so short that a run sees many of them pass. With more servers on one machine, all takes longer. */
export const LEASE: Readonly<Record<Access["kind"], Lease>> = {
  single: { heartbeatMs: 100, leaseMs: 500, subscribeTimeoutMs: 1_000 },
  cluster: { heartbeatMs: 100, leaseMs: 1_000, subscribeTimeoutMs: 3_000 },
  sentinel: { heartbeatMs: 100, leaseMs: 1_000, subscribeTimeoutMs: 3_000 },
};
