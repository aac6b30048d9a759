import type { RedisStoreClient } from "./client.ts";
import { closedError } from "./connection-state.ts";
import type { Deadline } from "./deadlines.ts";

const POLL_MS = 20;

/**
 * Delays operations while the client has no connection, instead of letting node-redis queue them. An operation is dropped at its
 * deadline, and nothing of it reaches Redis.
 *
 * It polls the client instead of listening to it, since listeners cannot be removed; see `Connections`.
 */
export class ClientReadiness {
  /** Each settles its promise if it can, and returns whether it has. */
  readonly #waiters = new Set<() => boolean>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * Resolves when the client is connected.
   * @throws after the deadline, if the client is closed, or if it has `disableOfflineQueue`: its user prefers an error to a
   * delay
   */
  async whenConnected(
    deadline: Deadline,
    client: RedisStoreClient,
    isConnected: () => boolean,
  ): Promise<void> {
    if (!client.isOpen) throw closedError(client);
    const { options } = client as { options?: { readonly disableOfflineQueue?: boolean } };
    if (options?.disableOfflineQueue === true) {
      throw new Error("The client is offline, and its disableOfflineQueue is set");
    }
    await this.until(deadline, () => {
      if (!client.isOpen) throw closedError(client);
      return isConnected() || undefined;
    });
  }

  /**
   * What `find` returns, as soon as that is not undefined.
   * @throws what `find` throws, and soon after the deadline: later operations of the session wait for this one
   */
  until<T>(deadline: Deadline, find: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const check = () => {
        try {
          if (deadline.passed) throw new Error("It took too long to connect");
          const found = find();
          if (found !== undefined) resolve(found);
          return found !== undefined;
        } catch (error) {
          reject(error);
          return true;
        }
      };
      this.#waiters.add(check);
      this.#schedulePoll();
    });
  }

  #schedulePoll(): void {
    this.#timer ??= setTimeout(() => this.#poll(), POLL_MS).unref();
  }

  #poll(): void {
    this.#timer = undefined;
    for (const check of this.#waiters) if (check()) this.#waiters.delete(check);
    if (this.#waiters.size > 0) this.#schedulePoll();
  }
}
