import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { asEnvironment, type NodeSettings } from "./settings.ts";

const START_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 10_000;

/** A process of the cluster, seen from main.ts: from its start to its end. */
export class NodeProcess {
  readonly number: number;
  /** Resolves when it can be asked; rejects when it ends before. */
  readonly listening: Promise<void>;
  readonly #child: ChildProcess;
  #port: number | undefined;
  #isStopping = false;

  constructor(settings: NodeSettings) {
    this.number = settings.node;
    this.#child = fork(fileURLToPath(new URL("node.ts", import.meta.url)), {
      execArgv: ["--import", import.meta.resolve("tsx")],
      env: { ...process.env, ...asEnvironment(settings) },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.listening = this.#listening();
    // Whoever waits for it is told all the same.
    this.listening.catch(() => {});
    this.#child.once("exit", (code, signal) => {
      const wasUp = this.#port !== undefined;
      this.#port = undefined;
      if (wasUp && !this.#isStopping) console.error(`node ${this.number} ${ended(code, signal)}`);
    });
  }

  /** Undefined when it does not listen, or not any more. */
  get port(): number | undefined {
    return this.#port;
  }

  /** Asks it to end, and sees to it that it does. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const gone = once(child, "exit");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
    if (child.connected) child.disconnect();
    await gone;
    clearTimeout(timer);
  }

  #listening(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`node ${this.number} ${why}`));
      const limit = () => fail(`does not listen after ${START_LIMIT_MS / 1000} s`);
      const timer = setTimeout(limit, START_LIMIT_MS).unref();
      this.#child.once("error", (error) => fail(`could not be started: ${error.message}`));
      this.#child.once("exit", (code, signal) => {
        clearTimeout(timer);
        fail(`${ended(code, signal)} before it listened; what it said stands above`);
      });
      this.#child.once("message", (message) => {
        clearTimeout(timer);
        this.#port = (message as { port: number }).port;
        resolve();
      });
    });
  }
}

function ended(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `ended with exit status ${code}` : `was ended by ${signal}`;
}
