import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { atExit } from "./at-exit.ts";
import { onFreePort } from "./free-port.ts";
import { type Identity, whenAnswering } from "./ping.ts";
import { commandLine, type RedisServer, type ServerSpec } from "./server.ts";

/** Looked for once: a Cluster asks for six. */
let found: string | undefined;

/** The server program on the PATH, if there is one. */
export function serverOnPath(): string | undefined {
  const runs = (name: string) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0;
  found ??= ["redis-server", "valkey-server"].find(runs);
  return found;
}

/** A server as a child process, on a free port, with a folder of its own. */
export function startProcess(program: string, spec: ServerSpec): Promise<RedisServer> {
  return onFreePort(async (port) => {
    const server = new ProcessServer(program, port, spec);
    try {
      await server.restart();
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  });
}

class ProcessServer implements RedisServer {
  readonly provider = "process";
  readonly url: string;
  version = "";
  readonly #program: string;
  readonly #args: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "redis-for-tests-"));
  readonly #forgetExit: () => void;
  #child: Child | undefined;
  #isStopped = false;

  constructor(program: string, port: number, spec: ServerSpec) {
    this.#program = program;
    this.url = `redis://127.0.0.1:${port}`;
    this.#args = [...commandLine(port, spec), "--bind", "127.0.0.1"];
    this.#forgetExit = atExit(() => this.#end());
    for (const [name, content] of Object.entries(spec.files ?? {})) {
      writeFileSync(join(this.#folder, name), content);
    }
  }

  async restart(): Promise<void> {
    if (this.#isStopped) throw new Error("This Redis has been stopped for good");
    await this.kill();
    const child = new Child(this.#program, this.#args, this.#folder);
    this.#child = child;
    this.version = (await child.whenReady(this.url)).version;
  }

  async pause(): Promise<void> {
    this.#child?.signal("SIGSTOP");
  }

  async resume(): Promise<void> {
    this.#child?.signal("SIGCONT");
  }

  async kill(): Promise<void> {
    this.#child?.signal("SIGKILL");
    await this.#child?.ended;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.kill();
    this.#forgetExit();
    this.#end();
  }

  #end(): void {
    this.#child?.signal("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** One run of the program. */
class Child {
  readonly ended: Promise<void>;
  readonly #process: ChildProcess;
  #output = "";
  #death: Error | undefined;

  constructor(program: string, args: readonly string[], cwd: string) {
    // In a process group of its own: a Ctrl-C in the terminal is for us, and Redis is still needed while we tidy up.
    const child = spawn(program, args, { cwd, stdio: ["ignore", "pipe", "pipe"], detached: true });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk: Buffer) => {
        this.#output = (this.#output + chunk.toString()).slice(-2_000);
      });
    }
    this.ended = new Promise((resolve) => {
      child.on("error", (error) => {
        this.#death = error;
        resolve();
      });
      // Not "exit": its last words, which say why, may come after that.
      child.on("close", (code, signal) => {
        this.#death ??= new Error(`${program} ended (${signal ?? `code ${code}`}):\n${this.#output}`);
        resolve();
      });
    });
  }

  async whenReady(url: string): Promise<Identity> {
    const identity = await whenAnswering(url, () => this.#death);
    // Somebody else's server may have the port that this one did not get.
    if (identity.pid === this.#process.pid) return identity;
    await Promise.race([this.ended, pause(60_000, undefined, { ref: false })]);
    throw this.#death ?? new Error(`The server that answers is not the ${this.#process.spawnfile} started`);
  }

  /** Does nothing once it has ended, when its number may be another's. */
  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal);
  }
}
