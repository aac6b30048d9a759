import { errorMonitor } from "node:events";
import { errorMessage } from "../reporting/errors.ts";
import type { Connection, RedisStoreClient } from "./client.ts";
import type { Doubt, Doubts } from "./doubts.ts";
import { Silence } from "./silence.ts";
import type { Batch } from "./topology.ts";

/** A client that hides its connections until they are used. */
interface Owner {
  /** Whether a connection that nobody watched has failed: any of those not watched yet may be the one. */
  hasUnknownFailure: boolean;
}

/**
 * Watches connections for what no reply shows.
 *
 * node-redis assigns replies to commands by their order alone. When its decoder throws, for example at a value longer than
 * V8's longest string, the rest of what was received is dropped, and each later reply goes to an earlier command: users
 * receive each other's sessions. It emits `error` then and there, before it decodes anything else. So a connection that
 * fails while it is ready is closed in that moment, which rejects all that is pending on it, and opened again.
 */
export class Connections {
  /**
   * Who wants to know of each connection. Shared by all stores, so that a client has one listener however many stores use it.
   * Listeners stay: what `createClient` returns is an object over the real emitter, and removing the last listener from such
   * an object detaches it from all events permanently. They refer to no store that is closed.
   */
  static readonly #watched = new WeakMap<object, Set<Doubts>>();
  readonly #doubts: Doubts;
  /** Finds those that are half-open. */
  readonly silence: Silence = new Silence((connection) =>
    this.#replace(connection, "the data connection is half-open"),
  );
  /** Pools, Cluster and Sentinel clients. Shared by all stores, for the same reason. */
  static readonly #owners = new WeakMap<object, Owner>();
  #owner: Owner | undefined;

  constructor(doubts: Doubts) {
    this.#doubts = doubts;
  }

  /** To be called before each use of a connection. */
  watch(connection: Connection): void {
    const known = Connections.#watched.get(connection);
    if (known !== undefined) {
      known.add(this.#doubts);
      return;
    }
    const doubts = new Set([this.#doubts]);
    Connections.#watched.set(connection, doubts);
    if (this.#owner?.hasUnknownFailure) this.#replace(connection, "replies are out of step");
    // Not a listener for "error": the application may want a client without one to end the process.
    connection.on?.(errorMonitor, (error) => {
      if (connection.isReady && !isFailedCommand(error))
        reopen(connection, doubts, "replies are out of step");
    });
    connection.on?.("ready", () => raise(doubts, "the client has reconnected"));
  }

  /** Watches for failures of connections that are not watched. @param event what `client` emits about its connections */
  watchOwner(client: RedisStoreClient, event: "error" | "client-error" | "node-error"): void {
    const known = Connections.#owners.get(client);
    this.#owner = known ?? { hasUnknownFailure: false };
    if (known !== undefined) return;
    const owner = this.#owner;
    Connections.#owners.set(client, owner);
    (client as Connection).on?.(event === "error" ? errorMonitor : event, (given) => {
      const error = (given as { error?: unknown } | undefined)?.error ?? given;
      if (isDecoderFailure(error)) owner.hasUnknownFailure = true;
    });
  }

  /**
   * The replies to a batch.
   * @param connection on which they arrived
   * @throws Error if they are out of step; the connection is replaced then
   */
  requireInStep(batch: Batch, replies: unknown[], connection: Connection | undefined): unknown[] {
    if (batch.isInStep?.(replies) !== false) return replies;
    if (connection !== undefined) this.#replace(connection, "replies are out of step");
    throw new Error("The replies are out of step with the commands, so the connection is replaced");
  }

  #replace(connection: Connection, doubt: Doubt): void {
    reopen(connection, Connections.#watched.get(connection) ?? new Set([this.#doubts]), doubt);
  }

  /**
   * Something that starts batches like `owner`, a pool or a Sentinel client, and watches the connections that these take. The
   * owner itself does not expose them.
   * @param method of the owner, called by its batches with a function of the connection as the last argument
   * @param onUse starts the batch by `run`; called for each attempt
   */
  startingOn<Owner extends object>(
    owner: Owner,
    method: "execute" | "_execute",
    onUse: (used: Connection, run: () => unknown) => unknown,
  ): Owner {
    const execute = (owner as Record<string, (...args: unknown[]) => unknown>)[method];
    if (execute === undefined) return owner;
    const value = (...args: unknown[]) => {
      const run = args.pop() as (connection: Connection) => unknown;
      const runWatched = (connection: Connection) => {
        this.watch(connection);
        return onUse(connection, () => {
          const replies = run(connection);
          this.silence.track(connection, Promise.resolve(replies));
          return replies;
        });
      };
      return execute.call(owner, ...args, runWatched);
    };
    return Object.create(owner, { [method]: { value } }) as Owner;
  }
}

/** Whether node-redis never splits a transaction: when its queue is full, it may have queued MULTI and SET, and refuses EXEC. */
export function keepsTransactions({ options }: Connection): boolean {
  return options?.commandsQueueMaxLength === undefined;
}

function reopen(connection: Connection, doubts: Set<Doubts>, doubt: Doubt): void {
  // Undefined for clients that do not tell; false while the connection is lost, or being opened.
  if (connection.isReady === false) return;
  connection.destroy?.();
  connection.connect?.().catch(() => {});
  raise(doubts, doubt);
}

function raise(doubts: Set<Doubts>, doubt: Doubt): void {
  for (const one of doubts) if (!one.raise(doubt)) doubts.delete(one);
}

/**
 * Whether an error is that of a command whose promise nobody has: a PING that node-redis sent by itself, for its option
 * `pingInterval`, or a command of `client.legacy()` without a callback.
 */
function isFailedCommand(error: unknown): boolean {
  const { name } = (error as object | undefined)?.constructor ?? {};
  return FAILED_COMMANDS.test(name ?? "") || NEVER_QUEUED.test(errorMessage(error));
}

const FAILED_COMMANDS =
  /^(Simple|Blob|ErrorReply|Timeout|Abort|Command|Client|Disconnects|Socket|Connection|DOMException)/;

/** node-redis has classes for other errors only. */
const NEVER_QUEUED = /^(The queue is full$|"arguments\[\d+\]" must be of type )/;

/** Whether an error can only be one of node-redis's decoder. */
function isDecoderFailure(error: unknown): boolean {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  const isLanguageError = error instanceof TypeError || error instanceof RangeError;
  return isLanguageError || code === "ERR_STRING_TOO_LONG" || /^Unknown RESP/.test(String(message));
}
