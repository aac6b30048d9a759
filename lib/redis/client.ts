/**
 * A node-redis client (5 or 6): what `createClient`, `createClientPool`, `createCluster` and `createSentinel` return. The
 * type asks for the least that distinguishes such a client from others, so that clients with modules, scripts, functions,
 * either protocol and any type mapping are accepted.
 */
export interface RedisStoreClient {
  /** Whether the client has been opened and not closed since. */
  readonly isOpen: boolean;
  /** Starts a batch of commands. */
  multi(): unknown;
}

/** A node-redis client with `duplicate()`: any except a pool and the Sentinel client of node-redis 5. */
export interface RedisSubscriberClient extends RedisStoreClient {
  /** Creates another client with the same options. */
  duplicate(): unknown;
  /** Subscribes to a channel. */
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
}

/** Where subscriber connections come from: a client to duplicate, or a function that returns a new client. */
export type RedisSubscriberSource = RedisSubscriberClient | (() => RedisStoreClient);

/** Options of `SET`: expiry, and whether the key must exist. */
export interface SetOptions {
  expiration?: { type: "PX"; value: number };
  condition?: "XX";
}

/** The keys and arguments of a script. */
export interface ScriptArguments {
  keys: string[];
  arguments: string[];
}

/**
 * A client, as the store uses it. All commands are sent through `multi()`: it is what all kinds of client share, and it bypasses
 * node-redis's client-side cache and the timer that node-redis starts for each single command.
 */
export interface BatchingClient extends RedisStoreClient {
  multi(): CommandBatch;
}

/** Commands to be sent together: the part of node-redis's `multi()` that all kinds of client share. */
export interface CommandBatch {
  getRange(key: string, start: number, end: number): CommandBatch;
  pTTL(key: string): CommandBatch;
  set(key: string, value: string, options: SetOptions): CommandBatch;
  publish(channel: string, message: string): CommandBatch;
  eval(script: string, options: ScriptArguments): CommandBatch;
  evalSha(sha1: string, options: ScriptArguments): CommandBatch;
  scan(cursor: string, options: { MATCH: string; COUNT: number }): CommandBatch;
  ping(message: string): CommandBatch;
  configGet(parameter: string): CommandBatch;
  clientInfo(): CommandBatch;
  clusterInfo(): CommandBatch;
  clusterSlots(): CommandBatch;
  /** Sends the commands as a transaction. */
  exec(): Promise<unknown[]>;
  /** Sends the commands in one round trip, without a transaction. */
  execAsPipeline(): Promise<unknown[]>;
}

/** A client of one connection: the application's own, or one that its pool, Sentinel or Cluster client uses. */
export interface Connection {
  readonly isOpen?: boolean;
  readonly isReady?: boolean;
  readonly options?: {
    readonly database?: number;
    readonly commandsQueueMaxLength?: number;
    readonly socket?: { readonly host?: string; readonly port?: number; readonly path?: string };
  };
  on?(event: string | symbol, listener: (error?: unknown) => void): unknown;
  connect?(): Promise<unknown>;
  destroy?(): unknown;
}

/** The kinds of node-redis client. */
export type ClientKind = "single" | "pool" | "cluster" | "sentinel";

/** The kind of a node-redis client; undefined for anything else. */
export function kindOf(client: unknown): ClientKind | undefined {
  if (client === null || typeof client !== "object") return undefined;
  const { multi, isOpen } = client as Partial<RedisStoreClient>;
  if (typeof multi !== "function" || typeof isOpen !== "boolean") return undefined;
  if ("masters" in client) return "cluster";
  if ("getSentinelNode" in client) return "sentinel";
  return "duplicate" in client ? "single" : "pool";
}

/**
 * The prefix that the client itself adds to every key it sends. node-redis neither adds it to SCAN's pattern nor removes it
 * from the keys that SCAN returns.
 */
export function keyPrefixOf(client: RedisStoreClient): string {
  const { _keyPrefix: prefix } = client as { _keyPrefix?: string | Buffer };
  return prefix === undefined ? "" : prefix.toString();
}
