import { errorMonitor } from "node:events";
import { errorMessage } from "../reporting/errors.ts";
import type { CommandBatch, Connection } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { Demoted } from "./demoted.ts";
import { answersOnNewConnection } from "./fresh-connection.ts";
import { isErrorReply, isLoading, isReadOnly } from "./replies.ts";
import type { Batch, Doubt, Doubts, Topology } from "./topology.ts";
import { buildUntil } from "./unsent.ts";

/**
 * Sends batches, and watches connections for what no reply shows.
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
  /** When each connection was opened last, by performance.now(), rather too early than too late. */
  static readonly #openedAt = new WeakMap<object, number>();
  readonly #topology: Pick<Topology, "doubts" | "outage" | "readiness">;
  /** Finds those that are half-open. */
  readonly silence: Silence = new Silence((connection) =>
    Connections.#reopen(connection, "the data connection is half-open"),
  );
  /** Finds those that lead to a former primary. Undefined if the client itself follows the primary. */
  demoted: Demoted | undefined;
  /** The one on which `receive` has received replies last. */
  lastAnswered: Connection | undefined;

  constructor(topology: Pick<Topology, "doubts" | "outage" | "readiness">) {
    this.#topology = topology;
  }

  /** The client only knows an address, which may lead to another server later. @param absentKey a key that never exists */
  leaveFormerPrimaries(client: object, absentKey: string): void {
    this.demoted = new Demoted(client, {
      absentKey,
      openedAt: (connection) => Connections.#openedAt.get(connection),
      replace: (connection) => Connections.#reopen(connection, "the data connection led to a replica"),
    });
  }

  /** To be called before each use of a connection. */
  watch(connection: Connection): void {
    const known = Connections.#watched.get(connection);
    if (known !== undefined) {
      known.add(this.#topology.doubts);
      return;
    }
    Connections.#watched.set(connection, new Set([this.#topology.doubts]));
    Connections.#openedAt.set(connection, performance.now() - MAX_UNUSED_MS);
    // Any of those not watched yet may be the one.
    if (this.#topology.readiness.hasDecoderFailed) Connections.#reopen(connection, "replies are out of step");
    // Not a listener for "error": the application may want a client without one to end the process.
    connection.on?.(errorMonitor, (error) => {
      if (connection.isReady && !isFailedCommand(error))
        Connections.#reopen(connection, "replies are out of step");
    });
    connection.on?.("ready", () => {
      Connections.#openedAt.set(connection, performance.now());
      Connections.#raise(connection, "the client has reconnected");
    });
  }

  /**
   * Sends a batch, if node-redis writes it before its deadline; see `buildUntil`. Reports to the outage.
   * @param commands those of a client, none yet
   */
  execute(deadline: Deadline, commands: CommandBatch, batch: Batch): Promise<unknown[]> {
    const { outage } = this.#topology;
    outage.asked();
    const sentAt = performance.now();
    buildUntil(deadline, commands, batch.build);
    const executing = batch.mode === "transaction" ? commands.exec() : commands.execAsPipeline();
    return executing.then(
      (replies) => {
        outage.answered(sentAt);
        return replies;
      },
      (error: unknown) => {
        if (isErrorReply(error)) outage.answered(sentAt);
        else if (isLoading(error)) outage.loading();
        throw error;
      },
    );
  }

  /**
   * The replies to a batch that was sent on a connection.
   * @throws Error if they are out of step; the connection is replaced then
   */
  receive(connection: Connection, batch: Batch, replies: Promise<unknown[]>): Promise<unknown[]> {
    const settle = this.silence.begin(connection);
    return replies.then(
      (received) => {
        settle(true);
        this.lastAnswered = connection;
        if (batch.isInStep?.(received) !== false) return received;
        Connections.#reopen(connection, "replies are out of step");
        throw new Error("The replies are out of step with the commands, so the connection is replaced");
      },
      (error: unknown) => {
        settle(isErrorReply(error));
        if (isReadOnly(error)) this.demoted?.add(connection);
        throw error;
      },
    );
  }

  static #reopen(connection: Connection, doubt: Doubt): void {
    // Undefined for clients that do not say; false while the connection is lost, or being opened.
    if (connection.isReady === false) return;
    connection.destroy?.();
    connection.connect?.().catch(() => {});
    Connections.#raise(connection, doubt);
  }

  static #raise(connection: Connection, doubt: Doubt): void {
    const watching = Connections.#watched.get(connection);
    for (const doubts of watching ?? []) if (!doubts.raise(doubt)) watching?.delete(doubts);
  }

  /**
   * Something that starts a batch like `owner`, a pool or a Sentinel client, on a connection that the owner itself does not expose.
   * @param method of the owner, called by its batches with a function of the connection as the last argument
   * @param onUse watches the connection, and sends the batch by `run`; called for each attempt
   */
  startingOn<Owner extends object>(
    owner: Owner,
    method: "execute" | "_execute",
    batch: Batch,
    onUse: (connection: Connection, run: () => Promise<unknown[]>) => Promise<unknown[]>,
  ): Owner {
    const execute = (owner as Record<string, (...args: unknown[]) => unknown>)[method];
    if (execute === undefined) return owner;
    const value = (...args: unknown[]) => {
      const run = args.pop() as (connection: Connection) => Promise<unknown[]>;
      return execute.call(owner, ...args, (connection: Connection) =>
        onUse(connection, () => this.receive(connection, batch, run(connection))),
      );
    };
    return Object.create(owner, { [method]: { value } }) as Owner;
  }
}

/** For how long a connection may have been open before it is used. A pool takes the one that has been idle for the longest. */
const MAX_UNUSED_MS = 60_000;

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

/** Whoever has to wait longer for a new connection asks again: Redis may be back only since. */
const MAX_EXAMINATION_MS = 2_000;

/** The batches in flight on one connection. */
interface Exchange {
  unanswered: number;
  /** When the last reply arrived, or the first batch was sent. */
  quietSince: number;
}

/** Silent connections to one server, and since when each is. */
type Suspects = Map<Connection, number>;

/**
 * Finds half-open connections: nothing is answered on one, while Redis answers on a new connection. Without this, the kernel
 * gives up after a quarter of an hour. A Redis that answers nowhere keeps its connections: what they carry is not lost
 * then, and a new one would only wait as well.
 *
 * One new connection to a server is enough for all that are silent. One for each would overflow the queue in which a stalled server keeps
 * those that it has not accepted yet, and after that, TCP makes every client wait for seconds.
 */
export class Silence {
  readonly #exchanges = new Map<Connection, Exchange>();
  /** The servers that are being asked on a new connection. */
  readonly #asked = new Set<string>();
  readonly #replace: (connection: Connection) => void;

  constructor(replace: (connection: Connection) => void) {
    this.#replace = replace;
  }

  /** A batch was sent on a connection. @returns to be called when it has settled: whether Redis has answered it */
  begin(connection: Connection): (isAnswer: boolean) => void {
    let exchange = this.#exchanges.get(connection);
    if (exchange === undefined) {
      exchange = { unanswered: 0, quietSince: performance.now() };
      this.#exchanges.set(connection, exchange);
    }
    exchange.unanswered++;
    const tracked = exchange;
    return (isAnswer) => {
      if (--tracked.unanswered === 0) this.#exchanges.delete(connection);
      else if (isAnswer) tracked.quietSince = performance.now();
    };
  }

  /**
   * Examines connections that have been silent for `silentMs`.
   * @param onReplaced called for each connection that was replaced, with what is to be reported. Must not throw.
   * @returns whether any reply is awaited
   */
  check(silentMs: number, onReplaced: (what: string) => void): boolean {
    const now = performance.now();
    const report = () => onReplaced(`A half-open connection was replaced: it was silent for ${silentMs} ms`);
    const silent = new Map<string, Suspects>();
    for (const [connection, { quietSince }] of this.#exchanges) {
      // One that is being opened has nothing on its way, and node-redis could not replace it.
      if (connection.isReady === false) continue;
      const server = serverOf(connection);
      if (now - quietSince < silentMs || this.#asked.has(server)) continue;
      const suspects = silent.get(server) ?? new Map<Connection, number>();
      silent.set(server, suspects.set(connection, quietSince));
    }
    for (const [server, suspects] of silent) {
      this.#asked.add(server);
      const examining = this.#examine(suspects, Math.min(silentMs, MAX_EXAMINATION_MS), report);
      // One that cannot be duplicated stays.
      void examining.catch(() => {}).then(() => this.#asked.delete(server));
    }
    return this.#exchanges.size > 0;
  }

  async #examine(suspects: Suspects, timeoutMs: number, onReplaced: () => void): Promise<void> {
    const [one] = suspects.keys();
    if (one === undefined || !(await answersOnNewConnection(one, timeoutMs))) return;
    // Redis has answered a command that was sent later, so replies to earlier ones are here as soon as all sockets are read.
    await new Promise(setImmediate);
    for (const [connection, quietSince] of suspects) {
      if (this.#exchanges.get(connection)?.quietSince !== quietSince || connection.isReady === false)
        continue;
      this.#replace(connection);
      onReplaced();
    }
  }
}

function serverOf({ options }: Connection): string {
  const { host, port, path } = options?.socket ?? {};
  return `${host}:${port}:${path}`;
}
