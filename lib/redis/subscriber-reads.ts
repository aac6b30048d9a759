import { batchOn, keyPrefixOf, type RedisStoreClient } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { isErrorReply } from "./replies.ts";
import type { SubscriberConnection, Topology } from "./topology.ts";

/**
 * Whether a subscriber reads the same sessions as the client, although it is subscribed. It does not if it speaks RESP 2, has a
 * `keyPrefix` or another database, or its user may not read. Subscribing works in all these cases. Rejects
 * if nothing answers.
 */
export async function readsLikeClient(
  subscriber: SubscriberConnection,
  topology: Topology,
  deadline: Deadline,
): Promise<boolean> {
  const connection = subscriber as unknown as RedisStoreClient;
  if (keyPrefixOf(connection) !== "") return false;
  const key = `${topology.fullPrefix}:absent`;
  try {
    const [[there], [here]] = await Promise.all([
      batchOn(connection).clientInfo().getRange(key, 0, 0).pTTL(key).execAsPipeline(),
      topology.send(deadline, { target: "any", mode: "pipeline", build: (batch) => batch.clientInfo() }),
    ]);
    const database = databaseIn(there);
    return database !== undefined && database === databaseIn(here);
  } catch (error) {
    if (isErrorReply((error as Error).cause ?? error)) return false;
    throw error;
  }
}

function databaseIn(info: unknown): number | undefined {
  const { db } = info as { readonly db?: number };
  return db !== undefined && Number.isInteger(db) ? db : undefined;
}
