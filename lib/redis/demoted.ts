import type { Connection } from "./client.ts";
import { writesOnNewConnection } from "./fresh-connection.ts";

/** How long an examination may take, and how often there is one: a Redis without a primary is not to be flooded with connections. */
const EXAMINATION_MS = 2_000;

/**
 * Finds connections that a failover has left at a demoted server. An address that follows the primary (of a load balancer, of a
 * Kubernetes Service, in DNS) leads only new connections to the next one, and a server that becomes a replica closes none.
 * Without this, each write would fail until the process is started again.
 */
export class Demoted {
  /** Those on which Redis has refused to write since the last examination. */
  readonly #connections = new Set<Connection>();
  #examinedAt = Number.NEGATIVE_INFINITY;
  readonly #absentKey: string;
  readonly #replace: (connection: Connection) => void;

  /** @param absentKey with the client's prefix */
  constructor(absentKey: string, replace: (connection: Connection) => void) {
    this.#absentKey = absentKey;
    this.#replace = replace;
  }

  /** Redis has refused to write on a connection, because it is a replica. */
  add(connection: Connection): void {
    this.#connections.add(connection);
  }

  /** Replaces such connections, if new ones lead to a primary. @param onReplaced called for each, with what is to be reported. Must not throw. */
  check(onReplaced: (what: string) => void): void {
    const now = performance.now();
    if (this.#connections.size === 0 || now - this.#examinedAt < EXAMINATION_MS) return;
    this.#examinedAt = now;
    const connections = [...this.#connections];
    // Those that are still in use are added again.
    this.#connections.clear();
    // One that cannot be duplicated stays.
    void this.#examine(connections, onReplaced).catch(() => {});
  }

  /** One new connection is enough, since all have the same address. */
  async #examine(connections: readonly Connection[], onReplaced: (what: string) => void): Promise<void> {
    const [one] = connections;
    if (one === undefined || !(await writesOnNewConnection(one, this.#absentKey, EXAMINATION_MS))) return;
    for (const connection of connections) {
      if (connection.isReady === false) continue;
      this.#replace(connection);
      onReplaced("A connection to a replica was replaced: its address leads to a primary now");
    }
  }
}
