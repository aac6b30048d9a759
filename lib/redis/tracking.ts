import { randomUUID } from "node:crypto";
import { aclHint, errorMessage, SessionStoreError } from "../reporting/errors.ts";
import type { Deadline } from "./deadlines.ts";
import { CommandExecutor } from "./executor.ts";
import { isErrorReply } from "./replies.ts";
import { MODIFY } from "./scripts.ts";
import type { SubscriberConnection, Topology } from "./topology.ts";

// CLIENT TRACKING in its default mode: Redis reports each key that was read on a connection as soon as anything changes it, once,
// on that very connection. docs/guides/how-it-works.md says why neither with NOLOOP nor with OPTIN.

/** A subscriber whose client shows more than how to subscribe. */
interface CommandingConnection extends SubscriberConnection {
  sendCommand(args: string[]): Promise<unknown>;
}

/** Before this, a report could stand inside the reply to another command. */
const FIRST_VERSION = [7, 0, 5] as const;

/** How many keys are tried until one belongs to the primary. */
const MAX_KEYS = 10_000;

/** Heartbeats fail, too, so that it is no matter of tracking. */
const IS_TEMPORARY = /^(READONLY|MISCONF|NOREPLICAS|BUSY|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|MASTERDOWN)/;

/**
 * Proves that changes are reported: a key that is read on the connection, and then changed by the client, is reported before
 * the connection receives the reply to a later command.
 * @throws SessionStoreError `ERR_TRACKING` if they are not; other errors if that is not known
 */
export async function proveTracking(
  subscriber: SubscriberConnection,
  primaryId: string,
  topology: Topology,
  deadline: Deadline,
): Promise<void> {
  const connection = subscriber as CommandingConnection;
  const sid = sidOn(primaryId, topology);
  // None of this store's keys belongs to this primary: there is nothing to be reported.
  if (sid === undefined) return;
  const key = topology.fullPrefix + sid;
  let isReported = false;
  connection.on("invalidate", (reported) => {
    // FLUSHALL is reported instead of the keys that it concerns.
    if (reported === null || String(reported) === key) isReported = true;
  });
  const read = () => connection.sendCommand(["GETRANGE", key, "0", "0"]);
  try {
    const { version } = (await connection.sendCommand(["HELLO"])) as { readonly version?: unknown };
    if (isTooOld(version))
      throw trackingError(`it requires Redis ${FIRST_VERSION.join(".")}, not ${version}`);
    await read();
    const modify = { script: MODIFY, keys: [topology.prefix + sid], args: [] };
    await new CommandExecutor(topology).runScript(deadline, modify);
    await read();
  } catch (error) {
    const cause = (error as SessionStoreError).cause ?? error;
    if (!isErrorReply(cause) || IS_TEMPORARY.test(errorMessage(cause))) throw error;
    throw trackingError(errorMessage(error));
  }
  if (isReported) return;
  throw trackingError(
    "the subscriber's connection reports no changes; node-redis 5.9 or later can, with RESP 3",
  );
}

/** The refusal in an error of a connection that was to be tracked: then it works without. */
export function trackingRefusal(error: SessionStoreError): SessionStoreError | undefined {
  if (error.code === "ERR_TRACKING") return error;
  const reason = errorMessage(error.cause);
  const isRefusal = isErrorReply(error.cause) && /tracking|\bclient\b|HELLO|NOPROTO/i.test(reason);
  return isRefusal ? trackingError(reason) : undefined;
}

export function trackingError(reason: string): SessionStoreError {
  const hint = aclHint(reason, () => "+client|tracking");
  return new SessionStoreError("ERR_TRACKING", `cluster.tracking is not in use: ${reason}${hint}`);
}

/** @throws Error if it is not known which keys belong to the primary */
function sidOn(primaryId: string, topology: Topology): string | undefined {
  let isKnown = false;
  for (let i = 0; i < MAX_KEYS; i++) {
    const sid = `:tracking:${randomUUID()}`;
    const id = topology.primaryIdOf(sid);
    if (id === primaryId) return sid;
    isKnown ||= id !== undefined;
  }
  if (!isKnown) throw new Error("The client is not connected");
  return undefined;
}

/** Whether a version, as HELLO returns it, is older than the first that is supported; false if it cannot be understood. */
export function isTooOld(version: unknown): boolean {
  const numbers = String(version).split(".").map(Number);
  const differs = FIRST_VERSION.findIndex((number, i) => numbers[i] !== number);
  return differs !== -1 && (numbers[differs] ?? 0) < (FIRST_VERSION[differs] ?? 0);
}
