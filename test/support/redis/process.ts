import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { whenAnswering } from "./ping.ts";
import { PASSING_ARGS, type RedisServer } from "./server.ts";

/** The server program on the PATH, if there is one. */
export function serverOnPath(): string | undefined {
  return ["redis-server", "valkey-server"].find((name) => {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
}

/** A server as a process of ours, on a free port, with a folder of its own. */
export async function startProcess(program: string, args: readonly string[] = []): Promise<RedisServer> {
  for (let attempt = 1; ; attempt++) {
    const server = new ProcessServer(program, await freePort(), args);
    try {
      await server.restart();
      return server;
    } catch (error) {
      await server.stop();
      // Somebody else may have taken the port in the meantime.
      if (attempt === 5) throw error;
    }
  }
}

/** Ends what is still running when this process does, however it does. */
const running = new Set<ProcessServer>();
process.on("exit", () => {
  for (const server of running) server.stopNow();
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    // With other listeners around, what happens on a signal is theirs to say; without, it is the end, as ever.
    if (process.listenerCount(signal) === 1) process.exit(signal === "SIGINT" ? 130 : 143);
  });
}

class ProcessServer implements RedisServer {
  readonly provider = "process";
  readonly url: string;
  version = "";
  readonly #program: string;
  readonly #port: number;
  readonly #args: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "redis-"));
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(program: string, port: number, args: readonly string[]) {
    this.#program = program;
    this.#port = port;
    this.#args = args;
    this.url = `redis://127.0.0.1:${port}`;
    running.add(this);
  }

  async restart(): Promise<void> {
    await this.kill();
    const where = ["--port", String(this.#port), "--bind", "127.0.0.1", "--dir", this.#folder];
    const child = spawn(this.#program, [...where, ...PASSING_ARGS, ...this.#args], {
      stdio: ["ignore", "pipe", "pipe"],
      // A Ctrl-C in the terminal is for us: the server is still needed while we end.
      detached: true,
    });
    let output = "";
    const note = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-2_000);
    };
    child.stdout.on("data", note);
    child.stderr.on("data", note);
    let dead: Error | undefined;
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.on("error", (error) => {
        dead = error;
        resolve();
      });
      child.on("exit", (code) => {
        dead = new Error(`${this.#program} ended with code ${code}:\n${output}`);
        resolve();
      });
    });
    child.unref();
    this.version = await whenAnswering("127.0.0.1", this.#port, () => dead);
  }

  async pause(): Promise<void> {
    this.#child?.kill("SIGSTOP");
  }

  async resume(): Promise<void> {
    this.#child?.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    // It did not keep this process alive so far; its end does, or whoever waits for it would wait in vain.
    this.#child?.ref();
    this.#child?.kill("SIGKILL");
    await this.#ended;
  }

  async stop(): Promise<void> {
    await this.kill();
    this.stopNow();
  }

  stopNow(): void {
    running.delete(this);
    this.#child?.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === "object" ? address.port : 0));
    });
  });
}
