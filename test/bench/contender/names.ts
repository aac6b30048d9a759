/** The contenders. What each is, `stores.ts` says; whoever only reports need not load them. */
export const CONTENDER_NAMES = [
  "null store",
  "null store that copies",
  "MemoryStore",
  "connect-redis",
  "connect-redis 10",
  "connect-redis, client-side cache",
  "connect-redis, client-side cache, disableTouch",
  "ours",
  "ours, cache off",
] as const;

export type ContenderName = (typeof CONTENDER_NAMES)[number];

/** Those that use Redis. */
export const REDIS_CONTENDERS: readonly ContenderName[] = CONTENDER_NAMES.slice(3);

/** Those that are compared where a read may take long: while Redis stalls, or a connection is silent. */
export const READERS: readonly ContenderName[] = REDIS_CONTENDERS.filter(
  (name) => name !== "connect-redis 10" && name !== "ours, cache off",
);

/** The name that readers of a table or a picture see. */
export const labelOf = (name: ContenderName): string =>
  name.replace(/^ours/, "clustered-redis-store").replace(/^connect-redis$/, "connect-redis 9");
