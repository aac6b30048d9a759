import { onTestFinished } from "vitest";
import {
  ClusteredRedisStore,
  type ClusteredRedisStoreOptions,
  type ClusterOptions,
  type RedisStoreClient,
} from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import type { Space } from "../support/node.ts";

/** What tests use of every kind of client. */
export type AnyClient = RedisStoreClient & {
  on(event: "error", listener: (error: unknown) => void): unknown;
  connect(): Promise<unknown>;
  destroy(): unknown;
};

export interface OpenStore<C extends AnyClient> {
  readonly store: ClusteredRedisStore;
  readonly client: C;
}

/** A lease that a failover outlasts, and that lapses soon enough to wait for. */
export const LEASE = { heartbeatMs: 100, leaseMs: 1_500, subscribeTimeoutMs: 3_000 } as const;

export type StoreOptions = Partial<Omit<ClusteredRedisStoreOptions, "client" | "cluster">> & {
  cluster?: ClusterOptions;
};

/** A store on a client of its own, live, and closed when the test ends. */
export async function openStore<C extends AnyClient>(
  create: () => C,
  space: Space,
  options: StoreOptions = {},
): Promise<OpenStore<C>> {
  const client = create();
  client.on("error", () => {});
  await client.connect();
  const store = new ClusteredRedisStore({
    client,
    prefix: space.prefix,
    ...options,
    cluster: { channel: space.channel, ...LEASE, ...options.cluster },
  });
  onTestFinished(async () => {
    await store.close();
    await client.destroy();
  });
  // As often as it takes: a loaded machine may need longer than one attempt.
  await eventually(() => store.ready().then(() => true));
  return { store, client };
}
