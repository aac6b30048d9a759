import { kindOf, type RedisStoreClient, type RedisSubscriberSource } from "./client.ts";
import { Cluster } from "./cluster.ts";
import { Sentinel } from "./sentinel.ts";
import { Pool, Standalone } from "./standalone.ts";
import type { Topology } from "./topology.ts";

export interface TopologyOfOptions {
  readonly client: RedisStoreClient;
  /** What precedes the session id, without the client's own `keyPrefix`. */
  readonly prefix: string;
  /** Undefined for a store that neither publishes nor subscribes; `discover` must not be called then. */
  readonly cluster: { readonly subscriber: RedisSubscriberSource; readonly leaseMs: number } | undefined;
}

/** The topology behind a client. Outside the check of the options, only this function asks for the kind of client. */
export function topologyOf({ client, prefix, cluster = NO_CLUSTER }: TopologyOfOptions): Topology {
  const options = { prefix, ...cluster };
  switch (kindOf(client)) {
    case "cluster":
      return new Cluster(client, options);
    case "sentinel":
      return new Sentinel(client, options);
    case "pool":
      return new Pool(client, options);
    default:
      return new Standalone(client, options);
  }
}

const NO_CLUSTER = {
  subscriber: (): never => {
    throw new Error("The option cluster is off: there is nothing to subscribe with");
  },
  leaseMs: 1,
};
