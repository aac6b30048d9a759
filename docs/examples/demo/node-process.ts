import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { compiledAs } from "../../../test/support/compiled.ts";
import type { NodeNews } from "./live/news.ts";
import { asEnvironment, type NodeSettings } from "./settings.ts";

const START_LIMIT_MS = 120_000;
const STOP_LIMIT_MS = 10_000;

/** All packages but the store as it was built, and what it extends, are in one file: a node starts in half the time. */
const PROGRAM = compiledAs("demo-node.js", fileURLToPath(new URL("node.ts", import.meta.url)), {
  allPackagesBut: ["clustered-redis-store", "express-session"],
});

/** A process of the cluster, seen from main.ts: from its start to its end. */
export class NodeProcess {
  /** Resolves when it can be asked; rejects when it ends before. */
  readonly listening: Promise<void>;
  readonly #number: number;
  readonly #child: ChildProcess;
  #port: number | undefined;
  #isMeantToEnd = false;

  /** @param tell is called with all that it tells, and when it has ended */
  constructor(settings: NodeSettings, tell: (news: NodeNews) => void) {
    this.#number = settings.node;
    this.#child = fork(PROGRAM, {
      execArgv: [],
      env: { ...process.env, ...asEnvironment(settings) },
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.listening = this.#listening();
    // Whoever waits for it is told all the same.
    this.listening.catch(() => {});
    this.#child.on("message", (news: NodeNews) => {
      if (news.type === "listening") this.#port = news.port;
      tell(news);
    });
    this.#child.once("exit", (code, signal) => {
      const wasUp = this.#port !== undefined;
      const how = ended(code, signal);
      this.#port = undefined;
      if (wasUp && !this.#isMeantToEnd) console.error(`node ${this.#number} ${how}`);
      tell({ type: "ended", how });
    });
  }

  /** Undefined when it does not listen, or not any more. */
  get port(): number | undefined {
    return this.#port;
  }

  get hasEnded(): boolean {
    const { exitCode, signalCode, pid } = this.#child;
    return exitCode !== null || signalCode !== null || pid === undefined;
  }

  /** Ends it at once, whatever it is doing. */
  async kill(): Promise<void> {
    if (this.hasEnded) return;
    this.#isMeantToEnd = true;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await gone;
  }

  /** Asks it to end, and sees to it that it does. */
  async stop(): Promise<void> {
    if (this.hasEnded) return;
    this.#isMeantToEnd = true;
    const gone = once(this.#child, "exit");
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_LIMIT_MS);
    if (this.#child.connected) this.#child.disconnect();
    await gone;
    clearTimeout(timer);
  }

  #listening(): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (why: string) => {
        clearTimeout(timer);
        reject(new Error(`node ${this.#number} ${why}`));
      };
      const limit = () => fail(`does not listen after ${START_LIMIT_MS / 1000} s`);
      const timer = setTimeout(limit, START_LIMIT_MS).unref();
      this.#child.once("error", (error) => fail(`could not be started: ${error.message}`));
      this.#child.once("exit", (code, signal) => {
        fail(`${ended(code, signal)} before it listened; what it said stands above`);
      });
      this.#child.on("message", (news: NodeNews) => {
        if (news.type !== "listening") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }
}

function ended(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `ended with exit status ${code}` : `was ended by ${signal}`;
}
