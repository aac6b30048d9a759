import { ClusteredRedisStore, type RedisStoreClient } from "clustered-redis-store";
import type { Store } from "express-session";

export const STORES = ["connect-redis", "overwrite", "merge"] as const;
export type StoreName = (typeof STORES)[number];

/** The store that goes by the name; `ready` resolves when it is fully in use. */
export async function storeOf(
  name: StoreName,
  client: RedisStoreClient,
  prefix: string,
): Promise<{ store: Store; ready: Promise<void> }> {
  if (name === "connect-redis") {
    const { RedisStore } = await import("connect-redis");
    return { store: new RedisStore({ client, prefix }), ready: Promise.resolve() };
  }
  const store = new ClusteredRedisStore({ client, prefix, onConflict: name });
  return { store, ready: store.ready() };
}
