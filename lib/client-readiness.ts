import type { Deadline } from "./deadlines.ts";
import { kindOf, type RedisStoreClient } from "./redis-client.ts";

const POLL_MS = 20;

interface SingleClient extends RedisStoreClient {
  readonly isReady: boolean;
  readonly options?: { readonly disableOfflineQueue?: boolean };
}

interface Waiting {
  readonly deadline: Deadline;
  readonly goOn: () => void;
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
  /** Undefined for a pool, Cluster or Sentinel: they do not tell of the connection that an operation will take. */
  readonly #client: SingleClient | undefined;
  readonly #waiting = new Set<Waiting>();
  #timer: NodeJS.Timeout | undefined;

  constructor(client: RedisStoreClient) {
    if (kindOf(client) === "single") this.#client = client as SingleClient;
  }

  /** Whether an operation must wait for `whenReady`. A closed client is not waited for: its refusal is the answer. */
  get mustWait(): boolean {
    const client = this.#client;
    return client !== undefined && !client.isReady && client.isOpen;
  }

  /**
   * Resolves when the client is ready; never, when the deadline passes before.
   * @throws when the client was made with `disableOfflineQueue`: its user wants an error rather than a wait
   */
  whenReady(deadline: Deadline): Promise<void> {
    if (this.#client?.options?.disableOfflineQueue === true) {
      return Promise.reject(new Error("The client is offline, and its disableOfflineQueue is set"));
    }
    return new Promise((goOn) => {
      this.#waiting.add({ deadline, goOn });
      this.#lookLater();
    });
  }

  #lookLater(): void {
    this.#timer ??= setTimeout(() => this.#look(), POLL_MS).unref();
  }

  #look(): void {
    this.#timer = undefined;
    const wait = this.mustWait;
    for (const waiting of this.#waiting) {
      if (!wait) waiting.goOn();
      if (!wait || waiting.deadline.passed) this.#waiting.delete(waiting);
    }
    if (this.#waiting.size > 0) this.#lookLater();
  }
}
