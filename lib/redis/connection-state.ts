import { errorMonitor } from "node:events";
import { errorMessage } from "../reporting/errors.ts";
import type { RedisStoreClient } from "./client.ts";

/** What a client has reported so far. */
interface ConnectionRecord {
  wasOpen: boolean;
  lastError: string | undefined;
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
 * Records the errors of a client, so that `connectionProblem` can name the last one.
 *
 * The listeners do not change what the application sees. `errorMonitor` does not count as a listener for `error`: a client
 * without one still ends the process, as Node documents. They are added once per client, hold nothing of the store, and
 * are never removed: see `Connections`.
 */
export function watchConnection(client: RedisStoreClient): void {
  const { isOpen, on } = client as ObservableClient;
  if (records.has(client) || typeof on !== "function") return;
  const record: ConnectionRecord = { wasOpen: isOpen, lastError: undefined, lastErrorAt: 0 };
  records.set(client, record);
  const onError = (event: unknown) => {
    // A Sentinel's `client-error` wraps the error.
    record.lastError = errorMessage((event as { error?: unknown } | undefined)?.error ?? event);
    record.lastErrorAt = performance.now();
  };
  const onOpen = () => {
    record.wasOpen = true;
  };
  // `node-error` is a Cluster's.
  for (const name of [errorMonitor, "node-error", "client-error"]) on.call(client, name, onError);
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

/** Whether commands can be sent; undefined if the client does not say. */
export function isConnected(client: RedisStoreClient): boolean | undefined {
  const { masters, isReady, getMasterNode } = client as ObservableClient;
  if (getMasterNode !== undefined) return getMasterNode.call(client) !== undefined;
  return masters === undefined ? isReady : masters.some((node) => node.client?.isReady === true);
}
