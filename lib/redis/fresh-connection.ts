import { errorMessage } from "../reporting/errors.ts";
import type { Connection, RedisSubscriberClient } from "./client.ts";
import { Deadlines } from "./deadlines.ts";
import { failureIn, isErrorReply } from "./replies.ts";
import type { Script } from "./script.ts";
import { DELETE_ABSENT, NOTHING } from "./scripts.ts";
import { subscriberFrom } from "./subscriber.ts";
import type { SubscriberConnection } from "./topology.ts";

/**
 * Whether Redis answers on a new connection like this one, so that it would answer on this one, too. Rejects if the client
 * cannot be duplicated.
 *
 * It is asked to run a script, because it holds scripts back when it holds writes back (CLIENT PAUSE), and refuses them while it runs
 * another (BUSY): in both cases the connection may be silent because of what it carries. For the same reason, an error during the
 * handshake is no answer (BUSY, WRONGPASS, too many clients). The connection could not be opened again, either.
 */
export function answersOnNewConnection(connection: Connection, timeoutMs: number): Promise<boolean> {
  return askOnNewConnection(connection, timeoutMs, async (fresh) => {
    const runScript = () => evaluate(fresh, NOTHING).then(() => true, isRefusal);
    // Twice, since a Redis that continues answers its connections in any order, but the first question on all before the second.
    return (await runScript()) && (await runScript());
  });
}

/**
 * Whether a new connection like this one leads to a server that accepts writes. Rejects if the client cannot be duplicated.
 * @param absentKey a key that never exists
 */
export function writesOnNewConnection(
  connection: Connection,
  absentKey: string,
  timeoutMs: number,
): Promise<boolean> {
  return askOnNewConnection(connection, timeoutMs, (fresh) =>
    evaluate(fresh, DELETE_ABSENT, absentKey).then(() => true),
  );
}

/** What `ask` finds on a new connection like this one; false if it fails, or takes too long. */
async function askOnNewConnection(
  connection: Connection,
  timeoutMs: number,
  ask: (fresh: SubscriberConnection) => Promise<boolean>,
): Promise<boolean> {
  if (!("duplicate" in connection)) return false;
  const options = { protocol: "the client's", isTracked: false } as const;
  const fresh = subscriberFrom(connection as unknown as RedisSubscriberClient, options);
  fresh.on("error", () => {});
  const connectAndAsk = () => fresh.connect().then(() => ask(fresh));
  try {
    return await new Deadlines(timeoutMs).run("examination", connectAndAsk).catch(() => false);
  } finally {
    try {
      fresh.destroy();
    } catch {}
  }
}

/** By its source: each is executed once in a while. */
function evaluate(fresh: SubscriberConnection, script: Script, ...keys: string[]): Promise<unknown> {
  return fresh.multi().eval(script.source, { keys, arguments: [] }).execAsPipeline();
}

/** Whether Redis has answered with an error, and is not busy. */
function isRefusal(error: unknown): boolean {
  return isErrorReply(error) && !errorMessage(failureIn(error)).startsWith("BUSY");
}
