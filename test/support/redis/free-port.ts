import { randomInt } from "node:crypto";
import { createServer } from "node:net";

// Below the range from which systems take ports for outgoing connections. From there, a client that keeps trying to
// reach a killed server could be given the server's own port, and so take it from the restarted one. That applies to the
// port of a Cluster's bus, too, which is 10,000 higher.
const FIRST = 12_000;
const END = 22_000;
/** Each worker of the test runner has a part of its own: no other takes the port of a server that will be restarted. */
const PARTS = 10;
const PART_SIZE = (END - FIRST) / PARTS;

const given = new Set<number>();

/** A port of this machine that nobody listens on and that was not given before: a killed server restarts on its own. */
export async function freePort(): Promise<number> {
  const part = Number(process.env["VITEST_POOL_ID"] ?? 0) % PARTS;
  const first = FIRST + part * PART_SIZE;
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(first, first + PART_SIZE);
    if (given.has(port)) continue;
    given.add(port);
    if (await canListenOn(port)) return port;
  }
  throw new Error(`There is no free port between ${first} and ${first + PART_SIZE}`);
}

function canListenOn(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** For a port that somebody else took between our look and the server's start: it is tried again on another one. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start(await freePort());
    } catch (error) {
      if (attempt === 5 || !isPortTaken(error)) throw error;
    }
  }
}

/** Redis and Docker report it in words only. */
function isPortTaken(error: unknown): boolean {
  return /address already in use|port is already allocated/i.test(String(error));
}
