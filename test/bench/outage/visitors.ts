import { Agent, get } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import { quantile } from "../support/statistics.ts";

/** One request, as a visitor sees it. */
export interface Visit {
  /** When it began, in ms since the beginning. */
  readonly at: number;
  readonly ms: number;
  readonly isOk: boolean;
  /** The status, or why there is none. */
  readonly outcome: string;
}

/** Those that began in one second. */
export interface Second {
  readonly fast: number;
  readonly slow: number;
  readonly failed: number;
}

const SESSIONS = 200;
/** A visitor has gone by then. */
const PATIENCE_MS = 30_000;
/** A page that takes longer is felt to be slow. */
export const FAST_MS = 100;

/** Visitors of one server: they log in, and then read pages at even intervals, whether or not earlier ones have arrived. */
export class Visitors {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 10_000 });
  #cookies: string[] = [];

  constructor(port: number) {
    this.#port = port;
  }

  async logIn(): Promise<void> {
    for (let i = 0; i < SESSIONS; i++) {
      const { cookie } = await this.#visit("/log-in", "");
      if (cookie === undefined) throw new Error("There is no cookie");
      this.#cookies.push(cookie);
    }
    for (const cookie of this.#cookies) await this.#visit("/", cookie);
  }

  async visit(everyMs: number, forMs: number): Promise<Visit[]> {
    const visits: Promise<Visit>[] = [];
    const startedAt = performance.now();
    for (let i = 0; i * everyMs < forMs; i++) {
      await pause(Math.max(0, startedAt + i * everyMs - performance.now()));
      const at = performance.now() - startedAt;
      const cookie = this.#cookies[i % this.#cookies.length] as string;
      visits.push(this.#visit("/", cookie).then((visit) => ({ ...visit, at })));
    }
    return Promise.all(visits);
  }

  end(): void {
    this.#agent.destroy();
  }

  #visit(path: string, cookie: string): Promise<Omit<Visit, "at"> & { cookie?: string | undefined }> {
    const startedAt = performance.now();
    return new Promise((resolve) => {
      const settle = (outcome: string, given?: string) => {
        const ms = performance.now() - startedAt;
        resolve({ ms, isOk: outcome === "200", outcome, cookie: given?.split(";")[0] });
      };
      const options = {
        port: this.#port,
        path,
        agent: this.#agent,
        headers: { cookie },
        timeout: PATIENCE_MS,
      };
      const request = get({ host: "127.0.0.1", ...options }, (response) => {
        response.resume();
        response.on("end", () => settle(String(response.statusCode), response.headers["set-cookie"]?.[0]));
      });
      request.on("timeout", () => request.destroy(new Error("The visitor has gone")));
      request.on("error", (error) => settle(error.message));
    });
  }
}

export function secondsOf(visits: readonly Visit[], count: number): Second[] {
  return Array.from({ length: count }, (_, second) => {
    const mine = visits.filter(({ at }) => Math.floor(at / 1_000) === second);
    const failed = mine.filter(({ isOk }) => !isOk).length;
    const fast = mine.filter(({ isOk, ms }) => isOk && ms <= FAST_MS).length;
    return { fast, slow: mine.length - failed - fast, failed };
  });
}

/** A quantile of the time that pages and errors took, in ms. */
export function tookMs(visits: readonly Visit[], q: number): number {
  const sorted = visits.map(({ ms }) => ms).toSorted((a, b) => a - b);
  return quantile(sorted, q);
}
