import { kindOf, type RedisStoreClient } from "./client.ts";
import type { Deadline } from "./deadlines.ts";

const POLL_MS = 20;

interface SingleClient extends RedisStoreClient {
  readonly isReady: boolean;
  readonly options?: { readonly disableOfflineQueue?: boolean };
}

interface SentinelClient extends RedisStoreClient {
  getMasterNode(): unknown;
}

interface Waiting {
  readonly deadline: Deadline;
  /** @returns whether it need not wait any longer */
  readonly look: () => boolean;
}

/**
 * Holds operations back while the client has no connection, instead of letting them pile up in its queue.
 *
 * What node-redis has queued it sends once it is connected again, however long after our deadline: a write that was
 * reported as failed minutes ago would then overwrite a newer one, and the queue would grow for as long as Redis is away.
 * Here an operation whose deadline passes is dropped, and nothing of it reaches Redis.
 *
 * It looks at the client instead of listening: what `createClient` returns is an object over the real emitter, and taking
 * the last listener off such an object cuts it off from all events for good.
 */
export class ClientReadiness {
  /** Whether the client has the connection that an operation will take. A pool does not tell, so it counts as connected. */
  readonly #isConnected: () => boolean;
  readonly #client: RedisStoreClient;
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  constructor(client: RedisStoreClient) {
    this.#client = client;
    const kind = kindOf(client);
    if (kind === "single") this.#isConnected = () => (client as SingleClient).isReady;
    else if (kind === "sentinel") {
      this.#isConnected = () => (client as SentinelClient).getMasterNode() !== undefined;
    } else this.#isConnected = () => true;
  }

  /** Whether an operation must wait for `whenReady`. A closed client is not waited for: its refusal is the answer. */
  get mustWait(): boolean {
    return !this.#isConnected() && this.#client.isOpen;
  }

  /**
   * Resolves when the client is ready; never, when the deadline passes before.
   * @throws when the client was made with `disableOfflineQueue`: its user wants an error rather than a wait
   */
  async whenReady(deadline: Deadline): Promise<void> {
    const { options } = this.#client as SingleClient;
    if (options?.disableOfflineQueue === true) {
      throw new Error("The client is offline, and its disableOfflineQueue is set");
    }
    await this.until(deadline, () => !this.mustWait || undefined);
  }

  /** What `look` finds, as soon as it finds anything; never, when the deadline passes before. @throws what it throws */
  until<T>(deadline: Deadline, look: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const lookNow = () => {
        try {
          const found = look();
          if (found !== undefined) resolve(found);
          return found !== undefined;
        } catch (error) {
          reject(error);
          return true;
        }
      };
      this.#waiting.add({ deadline, look: lookNow });
      this.#lookLater();
    });
  }

  #lookLater(): void {
    this.#timer ??= setTimeout(() => this.#look(), POLL_MS).unref();
  }

  #look(): void {
    this.#timer = undefined;
    for (const waiting of this.#waiting) {
      if (waiting.deadline.passed || waiting.look()) this.#waiting.delete(waiting);
    }
    if (this.#waiting.size > 0) this.#lookLater();
  }
}
