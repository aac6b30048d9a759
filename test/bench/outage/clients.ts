import type { ClusteredRedisStoreOptions } from "clustered-redis-store";
import { createClient, createClientPool, createCluster, createSentinel } from "redis";

export const KINDS = ["client", "pool", "Sentinel", "Cluster"] as const;
/** The kinds of client. */
export type Kind = (typeof KINDS)[number];

type Client = ClusteredRedisStoreOptions["client"] & {
  on(event: "error", listener: () => void): unknown;
  connect(): Promise<unknown>;
};

/** A connected client. @param address of its servers; see `Place` */
export async function clientOf(kind: Kind, address: string): Promise<ClusteredRedisStoreOptions["client"]> {
  const client = create(kind, address);
  client.on("error", () => {});
  await client.connect();
  return client;
}

function create(kind: Kind, address: string): Client {
  if (kind === "client") return createClient({ url: address });
  if (kind === "pool") return createClientPool({ url: address }, { minimum: 4 }) as unknown as Client;
  if (kind === "Sentinel") return createSentinel(JSON.parse(address)) as Client;
  return createCluster({ rootNodes: JSON.parse(address) });
}
