import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { StoreName } from "./stores.ts";

const REQUESTS = 10;

export interface Outcome {
  /** How many of the ten keys that ten parallel requests added are there in the end. */
  readonly keysKept: number;
  /** Whether a running request restored the session after its logout on the other process. */
  readonly cameBack: boolean;
}

class Process {
  readonly #child: ChildProcess;
  readonly url: string;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  static async start(env: Record<string, string>): Promise<Process> {
    const child = fork(fileURLToPath(new URL("app.ts", import.meta.url)), {
      execArgv: ["--import", "tsx"],
      env: { ...process.env, ...env },
    });
    const ended = once(child, "exit").then(([code]) =>
      Promise.reject(new Error(`app.ts ended with code ${code}`)),
    );
    const [url] = await Promise.race([once(child, "message"), ended]);
    ended.catch(() => {});
    return new Process(child, String(url));
  }

  /** Resolves when so many requests have loaded their session and wait. */
  arrived(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#child.on("message", () => {
        if (--count === 0) resolve();
      });
    });
  }

  goOn(): void {
    this.#child.send("go on");
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.disconnect();
    await ended;
  }
}

/** Plays both flows with one kind of store, on two processes. */
export async function play(store: StoreName, redisUrl: string): Promise<Outcome> {
  const env = {
    STORE: store,
    REDIS_URL: redisUrl,
    SESSION_SECRET: randomUUID(),
    PREFIX: `parallel:${store}:${process.pid}:${Date.now()}:`,
  };
  const processes = await Promise.all([Process.start(env), Process.start(env)]);
  try {
    return { keysKept: await addInParallel(processes), cameBack: await logOutMeanwhile(processes) };
  } finally {
    await Promise.all(processes.map((one) => one.stop()));
  }
}

async function addInParallel([one, other]: [Process, Process]): Promise<number> {
  const cookie = await logIn(one);
  const loaded = Promise.all([one.arrived(REQUESTS / 2), other.arrived(REQUESTS / 2)]);
  const requests = Array.from({ length: REQUESTS }, (_, i) =>
    get(i % 2 ? one : other, `/add/key${i}`, cookie),
  );
  await loaded;
  one.goOn();
  other.goOn();
  await Promise.all(requests);
  const values = (await (await get(one, "/session", cookie)).json()) as Record<string, unknown>;
  return Object.keys(values).filter((key) => key.startsWith("key")).length;
}

async function logOutMeanwhile([one, other]: [Process, Process]): Promise<boolean> {
  const cookie = await logIn(one);
  const loaded = one.arrived(1);
  const slow = get(one, "/add/late", cookie);
  await loaded;
  await get(other, "/logout", cookie);
  one.goOn();
  await slow;
  const values = (await (await get(one, "/session", cookie)).json()) as Record<string, unknown>;
  return "user" in values;
}

async function logIn(at: Process): Promise<string> {
  const response = await get(at, "/login", "");
  return String(response.headers.getSetCookie()[0]?.split(";")[0]);
}

async function get(at: Process, path: string, cookie: string): Promise<Response> {
  const response = await fetch(at.url + path, { headers: { cookie } });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response;
}
