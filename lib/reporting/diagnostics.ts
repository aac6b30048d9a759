import { createHash } from "node:crypto";
import { type Channel, channel, tracingChannel } from "node:diagnostics_channel";
import { SessionStoreError } from "./errors.ts";
import type { StoreEvents } from "./types.ts";

/**
 * The message of the tracing channel `clustered-redis-store:operation`: one operation that sends commands to Redis. Cache
 * hits, reads that join an in-flight read, and skipped touches send none and are not published.
 *
 * No message contains a session id, a key or session content: an id gives access to the session, and many people read traces.
 */
export interface StoreOperation {
  /**
   * The method. One for many sessions publishes several: `scan`, `get many` and `destroy` for each batch, `reindex` and `reencode`
   * for each session that it writes, and `clear` at its beginning and its end.
   */
  readonly operation:
    | "get"
    | "get many"
    | "set"
    | "touch"
    | "destroy"
    | "clear"
    | "scan"
    | "ping"
    | "sessionsOf"
    | "countOf"
    | "destroyAllOf"
    | "destroyOf"
    | "reindex"
    | "reencode";
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  /** A hash of the session id, if the operation concerns a single session: the first 16 hexadecimal digits of its SHA-256. */
  readonly session: string | undefined;
  /** For `get`, `set` and `touch`, from `asyncStart` on. */
  readonly result?:
    | {
        /** Whether the session existed. */
        readonly found: boolean;
      }
    | undefined;
  /** From the channel `error` on. Its message contains only codes, because other text may contain keys. */
  readonly error?: Error;
}

/** The message of the channels `clustered-redis-store:<event>`: an event of the store, without session ids. */
export interface StoreEventMessage {
  /** The name of the event. */
  readonly event: keyof StoreEvents;
  /** The label of this process; empty with `cluster: false`. */
  readonly nodeId: string;
  /** `invalidate`, `destroyed`, `expired`, `stale`, `resurrection`: a hash of the session id, as in `StoreOperation`. */
  readonly session?: string;
  /** `invalidate`, `destroyed`: the label of the process that wrote. */
  readonly from?: string;
  /** `suspect`, `flush`, `destroyed`: the reason, as the event passes it. */
  readonly reason?: string;
  /** `clusterError`: an error whose message contains only codes. */
  readonly error?: Error;
}

const NAME = "clustered-redis-store";
const operations = tracingChannel(`${NAME}:operation`);
const { start, end, asyncStart, asyncEnd, error } = operations;
// These references keep the channels, and with them their subscribers, from being garbage-collected.
const OPERATION_CHANNELS = [start, end, asyncStart, asyncEnd, error];
const EVENT_CHANNELS: Readonly<Record<keyof StoreEvents, Channel>> = {
  live: channel(`${NAME}:live`),
  suspect: channel(`${NAME}:suspect`),
  flush: channel(`${NAME}:flush`),
  invalidate: channel(`${NAME}:invalidate`),
  destroyed: channel(`${NAME}:destroyed`),
  expired: channel(`${NAME}:expired`),
  stale: channel(`${NAME}:stale`),
  resurrection: channel(`${NAME}:resurrection`),
  clusterError: channel(`${NAME}:clusterError`),
};

const HAVE_RESULT: ReadonlySet<StoreOperation["operation"]> = new Set(["get", "set", "touch"]);

const SESSION_EVENTS = new Set<keyof StoreEvents>([
  "invalidate",
  "destroyed",
  "expired",
  "stale",
  "resurrection",
]);

/** Whether the tracing channel has subscribers. Before Node 20.13, tracing channels have no `hasSubscribers`. */
export function isTraced(): boolean {
  return OPERATION_CHANNELS.some(({ hasSubscribers }) => hasSubscribers);
}

/**
 * Runs `work` and publishes its phases. Subscribers receive a result and an error of their own: `tracePromise` alone would
 * publish the session, and errors that contain its key.
 */
export function traceOperation<T>(
  operation: StoreOperation["operation"],
  sid: string | undefined,
  nodeId: string,
  work: () => Promise<T>,
): Promise<T> {
  let outcome: Promise<T> | undefined;
  const message: StoreOperation = { operation, nodeId, session: sid === undefined ? sid : hashSid(sid) };
  const published = operations.tracePromise(() => {
    outcome = work();
    return outcome.then(
      (result) => (HAVE_RESULT.has(operation) ? { found: Boolean(result) } : undefined),
      (cause: unknown) => {
        throw redactError(cause);
      },
    );
  }, message as object);
  published.catch(() => {});
  return outcome as unknown as Promise<T>;
}

/** Publishes an event if its channel has subscribers. */
export function publishEvent<E extends keyof StoreEvents>(
  event: E,
  args: StoreEvents[E],
  nodeId: string,
): void {
  if (!EVENT_CHANNELS[event].hasSubscribers) return;
  const [first, from, method] = args as [unknown?, string?, string?];
  const message: StoreEventMessage = {
    event,
    nodeId,
    ...(SESSION_EVENTS.has(event) && { session: hashSid(String(first)) }),
    ...(from !== undefined && { from }),
    ...((event === "suspect" || event === "flush") && { reason: String(first) }),
    ...(method !== undefined && { reason: method }),
    ...(event === "clusterError" && { error: redactError(first) }),
  };
  EVENT_CHANNELS[event].publish(message);
}

/**
 * Identifies a session where its id must not appear: the first 16 hexadecimal digits of the id's SHA-256. All processes
 * compute the same hash. It does not reveal an id that cannot be guessed.
 */
export function hashSid(sid: string): string {
  return createHash("sha256").update(sid).digest("hex").slice(0, 16);
}

/** An error with the same name and code whose message contains only codes: `ERR_SESSION_REDIS: READONLY`. */
function redactError(cause: unknown): Error {
  const { name, code } = cause instanceof SessionStoreError ? cause : { name: "Error", code: undefined };
  const why = cause instanceof SessionStoreError ? codeOf(cause.cause) : undefined;
  const message = [code, why].filter((part) => part !== undefined).join(": ") || "not an error of the store";
  return Object.assign(new Error(message), {
    name,
    ...(code !== undefined && { code }),
    stack: `${name}: ${message}`,
  });
}

/** A system error's code such as `ECONNRESET`, or the first word of an error reply of Redis. */
function codeOf(cause: unknown): string | undefined {
  const { code, message } = (cause ?? {}) as { code?: unknown; message?: unknown };
  if (typeof code === "string") return code;
  return /^[A-Z]{2,}\b/.exec(String(message))?.[0];
}
