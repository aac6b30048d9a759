// Makes HTTP requests, in a process of its own.
import { Agent, get } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import autocannon from "autocannon";
import { build } from "hdr-histogram-js";
import { serve } from "./support/rpc.ts";

export interface Load {
  readonly port: number;
  readonly cookies: readonly string[];
  /** The part of the requests that change the session. */
  readonly writes: number;
}

export interface Latency {
  readonly p50: number;
  readonly p99: number;
}

const CONNECTIONS = 16;
const SCRIPTED = 200;
/** So that at light load the processes have nothing else to do. */
const REST_MS = 1;

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function requestOnce(port: number, path: string, cookie: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ port, path, agent, host: "127.0.0.1", headers: { cookie } }, (response) => {
      response.on("end", () => (response.statusCode === 200 ? resolve() : reject(new Error(path))));
      response.resume();
    }).on("error", reject);
  });
}

const some = ({ cookies, writes }: Load) => ({
  path: Math.random() < writes ? "/write" : "/",
  cookie: cookies[Math.floor(Math.random() * cookies.length)] as string,
});

/** For a second, on several connections. @param overallRate as many as possible without it. @returns requests per second */
async function manyRequests(load: Load, overallRate?: number): Promise<number> {
  const requests = Array.from({ length: SCRIPTED }, () => {
    const { path, cookie } = some(load);
    return { path, headers: { cookie } };
  });
  const {
    requests: done,
    non2xx,
    errors,
  } = await autocannon({
    url: `http://127.0.0.1:${load.port}`,
    connections: CONNECTIONS,
    duration: 1,
    requests,
    ...(overallRate !== undefined && { overallRate }),
  });
  if (non2xx + errors > 0) throw new Error(`${non2xx} requests and ${errors} connections failed`);
  return done.average;
}

export const handlers = {
  /** One request at a time, in ms. autocannon counts whole milliseconds only; this counts microseconds. */
  light: async (load: Load & { readonly forMs: number }): Promise<Latency> => {
    const took = build();
    const end = performance.now() + load.forMs;
    while (performance.now() < end) {
      const { path, cookie } = some(load);
      const start = performance.now();
      await requestOnce(load.port, path, cookie);
      took.recordValue(Math.round(1000 * (performance.now() - start)));
      await pause(REST_MS);
    }
    return { p50: took.getValueAtPercentile(50) / 1000, p99: took.getValueAtPercentile(99) / 1000 };
  },

  /** As many as possible: requests per second. */
  full: (load: Load): Promise<number> => manyRequests(load),

  /** So many per second. */
  steady: (load: Load & { readonly perSecond: number }): Promise<number> =>
    manyRequests(load, load.perSecond),
};

serve(handlers);
