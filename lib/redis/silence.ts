import { errorMessage } from "../reporting/errors.ts";
import type { Connection, RedisSubscriberClient } from "./client.ts";
import { failureIn, isErrorReply } from "./replies.ts";
import { subscriberFrom } from "./subscriber.ts";

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

  /** A batch was sent on a connection. @param replies never handled elsewhere than by the caller */
  track(connection: Connection, replies: Promise<unknown>): void {
    let exchange = this.#exchanges.get(connection);
    if (exchange === undefined) {
      exchange = { unanswered: 0, quietSince: performance.now() };
      this.#exchanges.set(connection, exchange);
    }
    exchange.unanswered++;
    const tracked = exchange;
    const settle = (isAnswer: boolean) => {
      if (--tracked.unanswered === 0) this.#exchanges.delete(connection);
      else if (isAnswer) tracked.quietSince = performance.now();
    };
    replies.then(
      () => settle(true),
      (error: unknown) => settle(isErrorReply(error)),
    );
  }

  /**
   * Examines connections that have been silent for `silentMs`.
   * @param onReplaced called for each connection that was replaced. Must not throw.
   * @returns whether any reply is awaited
   */
  check(silentMs: number, onReplaced: () => void): boolean {
    const now = performance.now();
    const silent = new Map<string, Suspects>();
    for (const [connection, { quietSince }] of this.#exchanges) {
      const server = serverOf(connection);
      if (now - quietSince < silentMs || this.#asked.has(server)) continue;
      const suspects = silent.get(server) ?? new Map<Connection, number>();
      silent.set(server, suspects.set(connection, quietSince));
    }
    for (const [server, suspects] of silent) {
      this.#asked.add(server);
      const examining = this.#examine(suspects, Math.min(silentMs, MAX_EXAMINATION_MS), onReplaced);
      // One that cannot be duplicated stays.
      void examining.catch(() => {}).then(() => this.#asked.delete(server));
    }
    return this.#exchanges.size > 0;
  }

  async #examine(suspects: Suspects, timeoutMs: number, onReplaced: () => void): Promise<void> {
    const [one] = suspects.keys();
    if (one === undefined || !(await answersAnew(one, timeoutMs))) return;
    // Redis has answered a command that was sent later, so replies to earlier ones are here as soon as all sockets are read.
    await new Promise(setImmediate);
    for (const [connection, quietSince] of suspects) {
      if (this.#exchanges.get(connection)?.quietSince !== quietSince) continue;
      this.#replace(connection);
      onReplaced();
    }
  }
}

function serverOf({ options }: Connection): string {
  const { host, port, path } = options?.socket ?? {};
  return `${host}:${port}:${path}`;
}

/**
 * Whether Redis answers on a new connection like this one, so that it would answer on this one, too. Rejects if the client
 * cannot be duplicated.
 *
 * It is asked to run a script, because it holds scripts back when it holds writes back (CLIENT PAUSE), and refuses them while it runs
 * another (BUSY): in both cases the connection may be silent because of what it carries.
 */
async function answersAnew(connection: Connection, timeoutMs: number): Promise<boolean> {
  if (!("duplicate" in connection)) return false;
  const options = { protocol: "the client's", isTracked: false } as const;
  const fresh = subscriberFrom(connection as unknown as RedisSubscriberClient, options);
  fresh.on("error", () => {});
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false).unref();
  });
  const runScript = () =>
    fresh
      .multi()
      .eval("return 1", { keys: [], arguments: [] })
      .execAsPipeline()
      .then(() => true, isRefusal);
  const ask = async () => {
    await fresh.connect();
    // Twice, since a Redis that continues answers its connections in any order, but the first question on all before the second.
    return (await runScript()) && (await runScript());
  };
  try {
    return await Promise.race([ask().catch(isErrorReply), timeout]);
  } finally {
    clearTimeout(timer);
    try {
      fresh.destroy();
    } catch {}
  }
}

/** Whether Redis has answered with an error, and is not busy. */
function isRefusal(error: unknown): boolean {
  return isErrorReply(error) && !errorMessage(failureIn(error)).startsWith("BUSY");
}
