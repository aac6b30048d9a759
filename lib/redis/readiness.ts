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
  on?(event: string | symbol, listener: (event: unknown) => void): unknown;
}

const records = new WeakMap<RedisStoreClient, ConnectionRecord>();

const POLL_MS = 20;

/** The next time at which clients are looked at; undefined if nobody waits for one. */
let polling: Promise<void> | undefined;

export interface ReadinessOptions {
  /** Whether commands can be sent; undefined if the client does not say, as a pool. */
  isConnected(): boolean | undefined;
  /** What the client emits with an error of one of its connections, if it hides them. */
  readonly connectionErrorEvent: string | symbol | undefined;
}

/**
 * Whether a client has a connection, and if not, why. Operations wait here, and not in node-redis's queue: one is dropped at its
 * deadline, and nothing of it reaches Redis.
 */
export class ClientReadiness {
  readonly #client: RedisStoreClient;
  readonly #options: ReadinessOptions;

  constructor(client: RedisStoreClient, options: ReadinessOptions) {
    this.#client = client;
    this.#options = options;
    watchClient(client, options.connectionErrorEvent);
  }

  /** Whether commands can be sent; undefined if the client does not say. */
  get isConnected(): boolean | undefined {
    return this.#options.isConnected();
  }

  /** Whether replies on a connection of the client have once been out of step, whether or not that connection was known. */
  get hasDecoderFailed(): boolean {
    return records.get(this.#client)?.hasDecoderFailed === true;
  }

  /**
   * Why the client does not answer, as far as it says: it is not connected, or has reported an error lately.
   * @param recentMs how old the last error of a connected client may be, in milliseconds
   * @returns undefined if nothing is known
   */
  problem(recentMs: number): string | undefined {
    if (!this.#client.isOpen) return this.closedError().message;
    const { lastError, lastErrorAt = 0 } = records.get(this.#client) ?? {};
    const suffix = lastError === undefined ? "" : `; its last error: ${lastError}`;
    if (this.isConnected === false) return `the client is not connected${suffix}`;
    const isRecent = lastError !== undefined && performance.now() - lastErrorAt <= recentMs;
    return isRecent ? `the client reports errors${suffix}` : undefined;
  }

  /** The error of an operation on a client that is not open. */
  closedError(): Error {
    const { wasOpen = false, lastError } = records.get(this.#client) ?? {};
    let reason = "connect() was not called";
    if (lastError !== undefined) reason = `its last error: ${lastError}`;
    else if (wasOpen) reason = "the application closed it before the store";
    // A pool does not emit `connect`, either.
    else if (this.isConnected === undefined)
      reason = "connect() was not called, or the application closed it before the store";
    return new Error(`The client is closed: ${reason}`);
  }

  /**
   * Resolves when the client is connected.
   * @throws after the deadline, if the client is closed, or if it has `disableOfflineQueue`: its user prefers an error to a
   * delay
   */
  async whenConnected(deadline: Deadline): Promise<void> {
    if (!this.#client.isOpen) throw this.closedError();
    const { options } = this.#client as { options?: { readonly disableOfflineQueue?: boolean } };
    if (options?.disableOfflineQueue === true) {
      throw new Error("The client is offline, and its disableOfflineQueue is set");
    }
    await until(deadline, () => {
      if (!this.#client.isOpen) throw this.closedError();
      return this.isConnected !== false || undefined;
    });
  }
}

/**
 * Records the errors of a client and its connections, to name the last one.
 *
 * The listeners do not change what the application sees. `errorMonitor` does not count as a listener for `error`: a client
 * without one still ends the process, as Node documents. They are added once per client, hold nothing of the store, and
 * are never removed: see `Connections`.
 */
function watchClient(client: RedisStoreClient, connectionErrorEvent: string | symbol | undefined): void {
  const { isOpen, on } = client as ObservableClient;
  if (records.has(client) || typeof on !== "function") return;
  const record: ConnectionRecord = { wasOpen: isOpen, hasDecoderFailed: false, lastErrorAt: 0 };
  records.set(client, record);
  for (const name of new Set([errorMonitor, connectionErrorEvent ?? errorMonitor])) {
    on.call(client, name, (event) => {
      // A Sentinel's `client-error` wraps the error.
      const error = (event as { error?: unknown } | undefined)?.error ?? event;
      record.lastError = errorMessage(error);
      record.lastErrorAt = performance.now();
      if (name === connectionErrorEvent) record.hasDecoderFailed ||= isDecoderFailure(error);
    });
  }
  on.call(client, "connect", () => {
    record.wasOpen = true;
  });
}

/** Whether an error can only be one of node-redis's decoder. */
function isDecoderFailure(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const isLanguageError = error instanceof TypeError || error instanceof RangeError;
  return isLanguageError || code === "ERR_STRING_TOO_LONG" || /^Unknown RESP/.test(String(message));
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
