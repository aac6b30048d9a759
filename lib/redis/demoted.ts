import type { Connection } from "./client.ts";
import { writesOnNewConnection } from "./fresh-connection.ts";

/** How long an examination may take, and how often there is one: a Redis without a primary is not to be flooded with connections. */
const EXAMINATION_MS = 2_000;

/** When each client was last found to have connections to a former primary, by performance.now(). Shared by all stores. */
const foundAt = new WeakMap<object, number>();

export interface DemotedOptions {
  /** A key that never exists, with the client's prefix. */
  readonly absentKey: string;
  /** When a connection was opened last, by performance.now(), rather too early than too late; undefined if nobody knows. */
  openedAt(connection: Connection): number | undefined;
  replace(connection: Connection): void;
}

/**
 * Finds connections that a failover has left at a demoted server. An address that follows the primary (of a load balancer, of a
 * Kubernetes Service, in DNS) leads only new connections to the next one, and a server that becomes a replica closes none.
 * Without this, each write would fail until the process is started again.
 *
 * Once one is found, no other connection of its client is used before it is replaced, too: what it reads may lack what has been
 * written on a new one.
 */
export class Demoted {
  /** Those on which Redis has refused to write since the last examination, and when. */
  readonly #refusedAt = new Map<Connection, number>();
  #examinedAt = Number.NEGATIVE_INFINITY;
  readonly #client: object;
  readonly #options: DemotedOptions;

  constructor(client: object, options: DemotedOptions) {
    this.#client = client;
    this.#options = options;
  }

  /** Redis has refused to write on a connection, because it is a replica. */
  add(connection: Connection): void {
    this.#refusedAt.set(connection, performance.now());
  }

  /** To be called before a connection is used on which nothing is in flight: replaces it if it may lead to a former primary. */
  leave(connection: Connection): void {
    if (this.#isOlder(connection, foundAt.get(this.#client))) this.#options.replace(connection);
  }

  /** Replaces such connections, if new ones lead to a primary. @param onReplaced called for each, with what is to be reported. Must not throw. */
  check(onReplaced: (what: string) => void): void {
    const now = performance.now();
    if (this.#refusedAt.size === 0 || now - this.#examinedAt < EXAMINATION_MS) return;
    // One that has been opened again since may lead to the primary.
    const refusals = [...this.#refusedAt].filter(([connection, at]) => this.#isOlder(connection, at));
    // Those that are still in use are added again.
    this.#refusedAt.clear();
    if (refusals.length === 0) return;
    this.#examinedAt = now;
    // One that cannot be duplicated stays.
    void this.#examine(refusals, onReplaced).catch(() => {});
  }

  /** One new connection is enough, since all have the same address. */
  async #examine(
    refusals: readonly (readonly [Connection, number])[],
    onReplaced: (what: string) => void,
  ): Promise<void> {
    const [[one] = []] = refusals;
    const { absentKey } = this.#options;
    if (one === undefined || !(await writesOnNewConnection(one, absentKey, EXAMINATION_MS))) return;
    foundAt.set(this.#client, performance.now());
    for (const [connection, at] of refusals) {
      if (connection.isReady === false || !this.#isOlder(connection, at)) continue;
      this.#options.replace(connection);
      onReplaced("A connection to a replica was replaced: its address leads to a primary now");
    }
  }

  #isOlder(connection: Connection, at: number | undefined): boolean {
    return at !== undefined && (this.#options.openedAt(connection) ?? Number.NEGATIVE_INFINITY) < at;
  }
}
