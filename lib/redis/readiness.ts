import { errorMonitor } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { errorMessage } from "../reporting/errors.ts";
import type { RedisStoreClient } from "./client.ts";
import type { Deadline } from "./deadlines.ts";

/** What a client has reported so far. */
interface ConnectionRecord {
  wasOpen: boolean;
  hasDecoderFailed: boolean;
  lastError?: string;
  /** By performance.now(). */
  lastErrorAt: number;
}

interface ObservableClient extends RedisStoreClient {
  /** Undefined for a pool, which does not say. */
  readonly isReady?: boolean;
  /** A Cluster's primaries. Its own `isReady` says only that it was connected once. */
  readonly masters?: readonly { readonly client?: { readonly isReady: boolean } }[];
  /** A Sentinel's primary, if one is connected. Its own `isReady` says only that one was, with node-redis 5. */
  getMasterNode?(): unknown;
  on?(event: string | symbol, listener: (event: unknown) => void): unknown;
}

const records = new WeakMap<RedisStoreClient, ConnectionRecord>();

/**
 * Records the errors of a client and its connections, so that `connectionProblem` can name the last one.
 *
 * The listeners do not change what the application sees. `errorMonitor` does not count as a listener for `error`: a client
 * without one still ends the process, as Node documents. They are added once per client, hold nothing of the store, and
 * are never removed: see `Connections`.
 */
export function watchConnection(client: RedisStoreClient): void {
  const { isOpen, on } = client as ObservableClient;
  if (records.has(client) || typeof on !== "function") return;
  const record: ConnectionRecord = { wasOpen: isOpen, hasDecoderFailed: false, lastErrorAt: 0 };
  records.set(client, record);
  const onError = (event: unknown, isOfConnection: boolean) => {
    // A Sentinel's `client-error` wraps the error.
    const error = (event as { error?: unknown } | undefined)?.error ?? event;
    record.lastError = errorMessage(error);
    record.lastErrorAt = performance.now();
    record.hasDecoderFailed ||= isOfConnection && isDecoderFailure(error);
  };
  const onOpen = () => {
    record.wasOpen = true;
  };
  const isPool = isConnected(client) === undefined;
  on.call(client, errorMonitor, (error) => onError(error, isPool));
  // Those of a Cluster's and of a Sentinel client's connections.
  for (const name of ["node-error", "client-error"]) on.call(client, name, (event) => onError(event, true));
  on.call(client, "connect", onOpen);
}

/**
 * Why a client does not answer, as far as it says: it is not connected, or has reported an error lately.
 * @param recentMs how old the last error of a connected client may be, in milliseconds
 * @returns undefined if nothing is known
 */
export function connectionProblem(client: RedisStoreClient, recentMs: number): string | undefined {
  if (!client.isOpen) return closedError(client).message;
  const { lastError, lastErrorAt = 0 } = records.get(client) ?? {};
  const suffix = lastError === undefined ? "" : `; its last error: ${lastError}`;
  if (isConnected(client) === false) return `the client is not connected${suffix}`;
  const isRecent = lastError !== undefined && performance.now() - lastErrorAt <= recentMs;
  return isRecent ? `the client reports errors${suffix}` : undefined;
}

/** The error of an operation on a client that is not open. */
export function closedError(client: RedisStoreClient): Error {
  const { wasOpen = false, lastError } = records.get(client) ?? {};
  const isPool = isConnected(client) === undefined;
  let reason = "connect() was not called";
  if (lastError !== undefined) reason = `its last error: ${lastError}`;
  else if (wasOpen) reason = "the application closed it before the store";
  // A pool does not emit `connect`.
  else if (isPool) reason = "connect() was not called, or the application closed it before the store";
  return new Error(`The client is closed: ${reason}`);
}

/** Whether replies on a connection of a client have once been out of step, whether or not that connection was known. */
export function hasDecoderFailed(client: RedisStoreClient): boolean {
  return records.get(client)?.hasDecoderFailed === true;
}

/** Whether an error can only be one of node-redis's decoder. */
function isDecoderFailure(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const isLanguageError = error instanceof TypeError || error instanceof RangeError;
  return isLanguageError || code === "ERR_STRING_TOO_LONG" || /^Unknown RESP/.test(String(message));
}

/** Whether commands can be sent; undefined if the client does not say. */
export function isConnected(client: RedisStoreClient): boolean | undefined {
  const { masters, isReady, getMasterNode } = client as ObservableClient;
  if (getMasterNode !== undefined) return getMasterNode.call(client) !== undefined;
  return masters === undefined ? isReady : masters.some((node) => node.client?.isReady === true);
}

const POLL_MS = 20;

/** The next time at which clients are looked at; undefined if nobody waits for one. */
let polling: Promise<void> | undefined;

/**
 * Resolves when a client is connected. Operations wait here, and not in node-redis's queue: one is dropped at its deadline, and
 * nothing of it reaches Redis.
 * @throws after the deadline, if the client is closed, or if it has `disableOfflineQueue`: its user prefers an error to a
 * delay
 */
export async function whenConnected(deadline: Deadline, client: RedisStoreClient): Promise<void> {
  if (!client.isOpen) throw closedError(client);
  const { options } = client as { options?: { readonly disableOfflineQueue?: boolean } };
  if (options?.disableOfflineQueue === true) {
    throw new Error("The client is offline, and its disableOfflineQueue is set");
  }
  await until(deadline, () => {
    if (!client.isOpen) throw closedError(client);
    return isConnected(client) !== false || undefined;
  });
}

/**
 * What `find` returns, as soon as that is not undefined. It is polled, since listeners of a client cannot be removed; see
 * `Connections`. All who wait share one timer.
 * @throws what `find` throws, and soon after the deadline: later operations of the session wait for this one
 */
export async function until<T>(deadline: Deadline, find: () => T | undefined): Promise<T> {
  for (;;) {
    polling ??= pause(POLL_MS, undefined, { ref: false }).then(() => {
      polling = undefined;
    });
    await polling;
    if (deadline.passed) throw new Error("It took too long to connect");
    const found = find();
    if (found !== undefined) return found;
  }
}
