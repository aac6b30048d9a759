import { setImmediate as otherWork, setTimeout as pause } from "node:timers/promises";
import type { RequestHandler } from "express";

declare module "express-session" {
  interface SessionData {
    views?: number;
  }
}

export interface TurnOptions {
  readonly inFlight: number;
  readonly forMs: number;
}

export interface RequestOptions extends TurnOptions {
  /** The part of the requests that change the session. */
  readonly writes: number;
}

export interface TurnResult {
  /** How many requests or writes there were. */
  readonly count: number;
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

/** As often as there is time for, so many at the same time. @param act is given the number of the one that does it */
export async function repeat(
  { inFlight, forMs }: TurnOptions,
  act: (worker: number) => Promise<void>,
): Promise<TurnResult> {
  let count = 0;
  const end = performance.now() + forMs;
  const work = async (_: unknown, worker: number) => {
    while (performance.now() < end) {
      for (let i = 0; i < AT_A_STRETCH; i++) {
        await act(worker);
        count++;
      }
      await otherWork();
    }
  };
  const cpu = process.cpuUsage();
  const start = performance.now();
  await Promise.all(Array.from({ length: inFlight }, work));
  const wallUs = 1000 * (performance.now() - start);
  const { user, system } = process.cpuUsage(cpu);
  return { count, wallUs, cpuUs: user + system };
}

/** As many requests as there is time for, those in flight of different sessions, as those of different users are. */
export function requests(
  middleware: RequestHandler,
  cookies: readonly string[],
  { writes, ...options }: RequestOptions,
): Promise<TurnResult> {
  const share = cookies.length / options.inFlight;
  return repeat(options, (worker) => {
    const cookie = cookies[Math.floor((worker + Math.random()) * share)] as string;
    return request(middleware, cookie, Math.random() < writes);
  });
}

export interface IntervalOptions {
  readonly everyMs: number;
  readonly forMs: number;
}

/** Read-only requests at fixed times, however long the earlier ones take. @returns how long each took, in ms, also if it failed */
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
    const took = () => performance.now() - begun;
    pending.push(request(middleware, cookie, false).then(took, took));
  }
  return Promise.all(pending);
}

/** Every session once, so that what can be cached is. */
export async function readEach(middleware: RequestHandler, cookies: readonly string[]): Promise<void> {
  for (const cookie of cookies) await request(middleware, cookie, false);
}
