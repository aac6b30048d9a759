import type { ClusteredRedisStore } from "../../lib/index.ts";
import { sessionOf } from "../support/node.ts";

export interface LoadFigures {
  readonly succeeded: number;
  /** Calls that were answered with an error. */
  readonly failed: number;
  /** Writes that were acknowledged and are not in Redis: a failover loses what was not replicated yet. */
  readonly lostWrites: number;
  /** What the errors said, and how often. */
  readonly errors: Record<string, number>;
}

const SESSIONS = 60;
const WORKERS = 6;

/**
 * Reads and writes through all stores at once. Each session has one writer, which numbers its writes, so at the end it is known
 * what must be there.
 */
export class Load {
  readonly #stores: readonly ClusteredRedisStore[];
  readonly #acknowledged = new Map<string, number>();
  /** Writes that were answered with an error may have been executed all the same. */
  readonly #errors: Record<string, number> = {};
  #number = 0;
  #succeeded = 0;
  #failed = 0;
  #isStopped = false;
  readonly #workers: readonly Promise<void>[];

  constructor(stores: readonly ClusteredRedisStore[]) {
    this.#stores = stores;
    this.#workers = Array.from({ length: WORKERS }, (_, worker) => this.#work(worker));
  }

  readonly sids: readonly string[] = Array.from({ length: SESSIONS }, (_, i) => `load-${i}`);

  get succeeded(): number {
    return this.#succeeded;
  }

  /** @param read what Redis holds in the end */
  async stop(read: (sid: string) => Promise<number | undefined>): Promise<LoadFigures> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
    let lostWrites = 0;
    for (const [sid, number] of this.#acknowledged) if (((await read(sid)) ?? 0) < number) lostWrites++;
    return { succeeded: this.#succeeded, failed: this.#failed, lostWrites, errors: this.#errors };
  }

  async #work(worker: number): Promise<void> {
    const own = this.sids.filter((_, i) => i % WORKERS === worker);
    for (let turn = 0; !this.#isStopped; turn++) {
      const store = this.#stores[turn % this.#stores.length] as ClusteredRedisStore;
      const sid = own[turn % own.length] as string;
      const number = ++this.#number;
      await this.#count(async () => {
        await store.set(sid, sessionOf({ number }, 600_000));
        this.#acknowledged.set(sid, number);
      });
      for (let i = 0; i < 4; i++)
        await this.#count(() => store.get(this.sids[(turn + i * 7) % SESSIONS] as string));
      // Hits take no turn of the event loop, and others are to have theirs.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #count(call: () => Promise<unknown>): Promise<void> {
    try {
      await call();
      this.#succeeded++;
    } catch (error) {
      this.#failed++;
      const text = String((error as Error).message).replace(/load-\d+|\d+\.\d+\.\d+\.\d+:\d+|\d{3,}/g, "…");
      this.#errors[text] = (this.#errors[text] ?? 0) + 1;
    }
  }
}
