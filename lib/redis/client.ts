/**
 * A node-redis client (5 or 6): what `createClient`, `createClientPool`, `createCluster` and `createSentinel` return. The
 * type asks for the least that tells such a client from others, so that clients with modules, scripts, functions,
 * either protocol and any type mapping are accepted.
 */
export interface RedisStoreClient {
  /** Whether it was connected and not closed since. */
  readonly isOpen: boolean;
  /** Begins a batch of commands. */
  multi(): unknown;
}

/** A node-redis client that can be duplicated, to subscribe with: any but a pool, and a Sentinel client of node-redis 5. */
export interface RedisSubscriberClient extends RedisStoreClient {
  /** Makes another client with the same options. */
  duplicate(): unknown;
  /** Listens to a channel. */
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
}

/** What can make connections to subscribe with: a client to duplicate, or a function that returns new clients. */
export type RedisSubscriberSource = RedisSubscriberClient | (() => RedisStoreClient);

/** How a `SET` expires and whether it needs the key to exist. */
export interface SetOptions {
  expiration?: { type: "PX"; value: number };
  condition?: "XX";
}

/** What a script is given. */
export interface ScriptArguments {
  keys: string[];
  arguments: string[];
}

/** Commands gathered to be sent together: the part of node-redis's `multi()` that all kinds of client share. */
export interface CommandBatch {
  get(key: string): CommandBatch;
  mGet(keys: string[]): CommandBatch;
  pTTL(key: string): CommandBatch;
  set(key: string, value: string, options: SetOptions): CommandBatch;
  publish(channel: string, message: string): CommandBatch;
  ping(): CommandBatch;
  eval(script: string, options: ScriptArguments): CommandBatch;
  evalSha(sha1: string, options: ScriptArguments): CommandBatch;
  scan(cursor: string, options: { MATCH: string; COUNT: number }): CommandBatch;
  zRem(key: string, member: string): CommandBatch;
  clusterInfo(): CommandBatch;
  clusterSlots(): CommandBatch;
  /** In one transaction: all or nothing. */
  exec(): Promise<unknown[]>;
  /** In one round trip, without a transaction. */
  execAsPipeline(): Promise<unknown[]>;
}

/** The kinds of node-redis client, as far as they differ for us. */
export type ClientKind = "single" | "pool" | "cluster" | "sentinel";

/** What kind of node-redis client `client` is, or undefined when it is none. */
export function kindOf(client: unknown): ClientKind | undefined {
  if (client === null || typeof client !== "object") return undefined;
  const { multi, isOpen } = client as Partial<RedisStoreClient>;
  if (typeof multi !== "function" || typeof isOpen !== "boolean") return undefined;
  if ("masters" in client) return "cluster";
  if ("getSentinelNode" in client) return "sentinel";
  return "duplicate" in client ? "single" : "pool";
}

/** Starts a batch on `client`. */
export function batchOn(client: RedisStoreClient): CommandBatch {
  return client.multi() as CommandBatch;
}

/** What the commands of a Sentinel client's batch are all gathered with. */
interface SentinelBatch {
  addCommand(isReadonly: boolean | undefined, args: unknown[], ...rest: unknown[]): unknown;
}

/**
 * Starts a batch on a Sentinel client.
 *
 * With `replicaPoolSize`, node-redis sends batches that only read to replicas: what comes from there may be older than a
 * message that was heard, and would then be cached. So none of the commands is said to be one that only reads.
 *
 * When a connection breaks, node-redis sends again what was under way, once it knows the next primary, however long
 * that takes. So each command refuses to be read once its deadline has passed.
 */
export function sentinelBatchOn(
  client: RedisStoreClient,
  deadline: { readonly passed: boolean },
): CommandBatch {
  const batch = client.multi() as SentinelBatch;
  const { addCommand } = batch;
  batch.addCommand = (_isReadonly, args, ...rest) => {
    const [name] = args;
    const nameInTime = () => {
      if (deadline.passed) throw new Error("It took too long to find the primary");
      return name;
    };
    Object.defineProperty(args, 0, { get: nameInTime });
    return addCommand.call(batch, false, args, ...rest);
  };
  return batch as unknown as CommandBatch;
}

/**
 * The prefix the client itself puts before every key it sends. node-redis leaves it out of SCAN patterns and does not
 * take it off the keys that SCAN returns.
 */
export function keyPrefixOf(client: RedisStoreClient): string {
  const { _keyPrefix: prefix } = client as { _keyPrefix?: string | Buffer };
  return prefix === undefined ? "" : prefix.toString();
}

/** A reply as text, whatever type mapping the user's client has. */
export function textOf(reply: unknown): string | null {
  return reply === null || reply === undefined ? null : String(reply);
}
