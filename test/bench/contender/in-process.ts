import { setImmediate as otherWork, setTimeout as pause } from "node:timers/promises";
import type { RequestHandler } from "express";

declare module "express-session" {
  interface SessionData {
    views?: number;
  }
}

export interface InProcessOptions {
  /** The part of the requests that change the session. */
  readonly writes: number;
  readonly concurrency: number;
  readonly forMs: number;
}

export interface InProcessResult {
  readonly requests: number;
  readonly wallUs: number;
  readonly cpuUs: number;
}

/** How many requests one after another may be answered before the process turns to its sockets and timers. */
const AT_A_STRETCH = 8;

/** The least of a response that express-session and on-headers ask for. */
class FakeResponse {
  _header: string | null = null;
  readonly #headers = new Map<string, unknown>();
  readonly #done: () => void;

  constructor(done: () => void) {
    this.#done = done;
  }

  getHeader(name: string): unknown {
    return this.#headers.get(name.toLowerCase());
  }

  setHeader(name: string, value: unknown): void {
    this.#headers.set(name.toLowerCase(), value);
  }

  writeHead(_status: number): this {
    this._header = "HTTP/1.1 200 OK";
    return this;
  }

  _implicitHeader(): void {
    this.writeHead(200);
  }

  write(): boolean {
    return true;
  }

  end(): this {
    if (this._header === null) this._implicitHeader();
    this.#done();
    return this;
  }
}

interface FakeRequest {
  readonly method: string;
  readonly url: string;
  readonly originalUrl: string;
  readonly headers: { readonly cookie: string };
  readonly connection: object;
  readonly session?: { views?: number };
}

/** One request through express-session's middleware, without HTTP. */
function request(middleware: RequestHandler, cookie: string, isWrite: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const req: FakeRequest = {
      method: "GET",
      url: "/",
      originalUrl: "/",
      headers: { cookie },
      connection: {},
    };
    const res = new FakeResponse(resolve);
    const next = (error?: unknown) => {
      if (error !== undefined) return reject(error as Error);
      const { session } = req;
      if (session?.views === undefined) return reject(new Error("There was no session"));
      if (isWrite) session.views++;
      res.end();
    };
    middleware(
      req as unknown as Parameters<RequestHandler>[0],
      res as unknown as Parameters<RequestHandler>[1],
      next,
    );
  });
}

/** As many requests as there is time for. */
export async function inProcess(
  middleware: RequestHandler,
  cookies: readonly string[],
  { writes, concurrency, forMs }: InProcessOptions,
): Promise<InProcessResult> {
  let requests = 0;
  const end = performance.now() + forMs;
  const client = async () => {
    while (performance.now() < end) {
      for (let i = 0; i < AT_A_STRETCH; i++) {
        const cookie = cookies[Math.floor(Math.random() * cookies.length)] as string;
        await request(middleware, cookie, Math.random() < writes);
        requests++;
      }
      await otherWork();
    }
  };
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(Array.from({ length: concurrency }, client));
  const wallUs = 1000 * (performance.now() - start);
  const { user, system } = process.cpuUsage(cpu);
  return { requests, wallUs, cpuUs: user + system };
}

export interface IntervalOptions {
  readonly everyMs: number;
  readonly forMs: number;
}

/** Read-only requests at fixed times, however long the earlier ones take. @returns how long each took, in ms */
export async function atIntervals(
  middleware: RequestHandler,
  cookies: readonly string[],
  { everyMs, forMs }: IntervalOptions,
): Promise<number[]> {
  const start = performance.now();
  const pending: Promise<number>[] = [];
  for (let at = 0; at < forMs; at += everyMs) {
    const due = start + at;
    const early = due - performance.now();
    if (early > 0) await pause(early);
    const cookie = cookies[Math.floor(Math.random() * cookies.length)] as string;
    const begun = performance.now();
    pending.push(request(middleware, cookie, false).then(() => performance.now() - begun));
  }
  return Promise.all(pending);
}

/** Every session once, so that what can be cached is. */
export async function readEach(middleware: RequestHandler, cookies: readonly string[]): Promise<void> {
  for (const cookie of cookies) await request(middleware, cookie, false);
}
