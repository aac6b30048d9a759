import { createHash } from "node:crypto";
import { type Channel, channel, tracingChannel } from "node:diagnostics_channel";
import { SessionStoreError } from "./errors.ts";
import type { StoreEvents } from "./store-reports.ts";

/**
 * What the tracing channel `clustered-redis-store:operation` tells of one operation that goes to Redis. Hits in memory,
 * reads that join one under way, and touches that are left out send nothing, and so are not told.
 *
 * No message holds a session id, a key or anything of a session: whoever has the id has the session, and traces are read by many.
 */
export interface StoreOperation {
  /** `get many`, `scan` and `clear` are told for each batch. */
  readonly operation: "get" | "get many" | "set" | "touch" | "destroy" | "clear" | "scan" | "ping";
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  /** Stands for the session, if the operation is about a single one: see `labelOf`. */
  readonly session: string | undefined;
  /** For `get`, `set` and `touch`, from `asyncStart` on: whether there was such a session. */
  readonly result?:
    | {
        /** Whether there was such a session. */
        readonly found: boolean;
      }
    | undefined;
  /** From the channel `error` on. Its message is nothing but codes, because texts may name keys. */
  readonly error?: Error;
}

/** What the channels `clustered-redis-store:<name of the event>` tell: the events of the store, without session ids. */
export interface StoreEventMessage {
  /** Its name, as on the store. */
  readonly event: keyof StoreEvents;
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  /** `invalidate`, `destroyed`, `expired`, `resurrection`: stands for the session, see `labelOf`. */
  readonly session?: string;
  /** `invalidate`, `destroyed`: the label of the process that wrote. */
  readonly from?: string;
  /** `suspect`, `flush`, `destroyed` */
  readonly reason?: string;
  /** `clusterError`: its message is nothing but codes. */
  readonly error?: Error;
}

const NAME = "clustered-redis-store";
const operations = tracingChannel(`${NAME}:operation`);
const { start, end, asyncStart, asyncEnd, error } = operations;
// Held here: a channel that nobody holds may be collected, and its subscribers with it.
const OPERATION_CHANNELS = [start, end, asyncStart, asyncEnd, error];
const EVENT_CHANNELS: Readonly<Record<keyof StoreEvents, Channel>> = {
  live: channel(`${NAME}:live`),
  suspect: channel(`${NAME}:suspect`),
  flush: channel(`${NAME}:flush`),
  invalidate: channel(`${NAME}:invalidate`),
  destroyed: channel(`${NAME}:destroyed`),
  expired: channel(`${NAME}:expired`),
  resurrection: channel(`${NAME}:resurrection`),
  clusterError: channel(`${NAME}:clusterError`),
};

const ABOUT_A_SESSION = new Set<keyof StoreEvents>(["invalidate", "destroyed", "expired", "resurrection"]);

/**
 * Runs `work`, and tells the tracing channel of it if anybody listens. What is told is made anew: `tracePromise` alone would
 * hand out the session as the result, and errors that name its key.
 * @param isFound what to tell of the result, if anything
 */
export function traced<T>(
  operation: StoreOperation["operation"],
  sid: string | undefined,
  nodeId: string,
  work: () => Promise<T>,
  isFound?: (result: T) => boolean,
): Promise<T> {
  // Asked one by one: `operations.hasSubscribers` is younger than Node 20.
  if (!OPERATION_CHANNELS.some(({ hasSubscribers }) => hasSubscribers)) return work();
  let outcome: Promise<T> | undefined;
  const message: StoreOperation = { operation, nodeId, session: sid === undefined ? sid : labelOf(sid) };
  const told = operations.tracePromise(() => {
    outcome = work();
    return outcome.then(
      (result) => isFound && { found: isFound(result) },
      (cause: unknown) => {
        throw withoutSecrets(cause);
      },
    );
  }, message as object);
  told.catch(() => {});
  return outcome as unknown as Promise<T>;
}

/** Tells an event's channel of it, if anybody listens. */
export function tellEvent<E extends keyof StoreEvents>(event: E, args: StoreEvents[E], nodeId: string): void {
  if (!EVENT_CHANNELS[event].hasSubscribers) return;
  const [first, from, method] = args as [unknown?, string?, string?];
  const message: StoreEventMessage = {
    event,
    nodeId,
    ...(ABOUT_A_SESSION.has(event) && { session: labelOf(String(first)) }),
    ...(from !== undefined && { from }),
    ...((event === "suspect" || event === "flush") && { reason: String(first) }),
    ...(method !== undefined && { reason: method }),
    ...(event === "clusterError" && { error: withoutSecrets(first) }),
  };
  EVENT_CHANNELS[event].publish(message);
}

/**
 * What stands for a session where its id must not: 16 hexadecimal digits of the id's SHA-256. The same on all processes, and no
 * way back from it, provided that ids cannot be guessed, which they must not be anyway.
 */
function labelOf(sid: string): string {
  return createHash("sha256").update(sid).digest("hex").slice(0, 16);
}

/** An error of the same name and code whose message is nothing but codes: `ERR_SESSION_REDIS: READONLY`. */
function withoutSecrets(cause: unknown): Error {
  const { name, code } = cause instanceof SessionStoreError ? cause : { name: "Error", code: undefined };
  const why = cause instanceof SessionStoreError ? codeOf(cause.cause) : undefined;
  const message = [code, why].filter((part) => part !== undefined).join(": ") || "not an error of the store";
  return Object.assign(new Error(message), {
    name,
    ...(code !== undefined && { code }),
    stack: `${name}: ${message}`,
  });
}

/** `ECONNRESET`, or the word with which an error of Redis begins. */
function codeOf(cause: unknown): string | undefined {
  const { code, message } = (cause ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code === "string") return code;
  return /^[A-Z]{2,}\b/.exec(String(message))?.[0];
}
