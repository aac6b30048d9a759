import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { compiled } from "../support/compiled.ts";
import type { EventRecord, FromNode, NodeSettings, OperationRecord, Rest, ToNode } from "./protocol.ts";

export interface NodeListener {
  heard(records: readonly OperationRecord[], events: readonly EventRecord[]): void;
  complained(text: string): void;
}

const WORKER = compiled(fileURLToPath(new URL("./worker.ts", import.meta.url)), { allPackagesBut: [] });
const ANSWER_MS = 120_000;

/** Ends with the checker, however that ends; one that was stopped could not even hear of it. */
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** The checker's end of a node. */
export class NodeProcess {
  readonly #child: ChildProcess;
  readonly #listener: NodeListener;
  readonly #exited: Promise<void>;
  #isExpectedToEnd = false;
  #waiting: { readonly type: FromNode["type"]; readonly resolve: (message: FromNode) => void }[] = [];

  constructor(settings: NodeSettings, listener: NodeListener) {
    this.#listener = listener;
    this.#child = spawn(
      process.execPath,
      ["--expose-gc", WORKER],
      // Of their own group: a Ctrl-C in the terminal is for the checker, which ends them.
      { stdio: ["ignore", "inherit", "inherit", "ipc"], detached: true },
    );
    running.add(this.#child);
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", (code, signal) => {
        running.delete(this.#child);
        if (!this.#isExpectedToEnd) listener.complained(`the process ended by itself: ${signal ?? code}`);
        resolve();
      });
    });
    this.#child.on("error", (error) => listener.complained(String(error)));
    this.#child.on("message", (message: FromNode) => this.#heard(message));
    this.#say({ type: "start", settings });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  async live(): Promise<void> {
    await this.#next("live");
  }

  play(
    startedAt: number,
    from: number,
    operations: ToNode extends infer M ? (M extends { operations: infer O } ? O : never) : never,
  ): void {
    this.#say({ type: "play", startedAt, from, operations });
  }

  /** Begins an operation that belongs to a fault, and not to the plan. */
  perform(kind: "get" | "set" | "destroy", sid: string, { version = 0, lifeMs = 0 } = {}): void {
    const operation = { at: 0, kind, sid, version, lifeMs, thinkMs: 0 };
    this.#say({ type: "perform", operation });
  }

  async settle(): Promise<{ pending: number; isLive: boolean }> {
    const settled = this.#next("settled");
    this.#say({ type: "settle" });
    return (await settled) as Extract<FromNode, { type: "settled" }>;
  }

  async rest(sids: readonly string[], owners: readonly string[]): Promise<Rest> {
    const resting = this.#next("resting");
    this.#say({ type: "rest", sids, owners });
    return ((await resting) as Extract<FromNode, { type: "resting" }>).rest;
  }

  async skipReplies(): Promise<void> {
    const skipped = this.#next("skipped");
    this.#say({ type: "skip replies" });
    await skipped;
  }

  async reindex(): Promise<void> {
    const reindexed = this.#next("reindexed");
    this.#say({ type: "reindex" });
    await reindexed;
  }

  /** Sets its wall clock ahead of the machine's by so much, or behind it. */
  stepClock(byMs: number): void {
    this.#say({ type: "step clock", byMs });
  }

  stop(): void {
    this.#child.kill("SIGSTOP");
  }

  resume(): void {
    this.#child.kill("SIGCONT");
  }

  /** As `kill -9` does. */
  async kill(): Promise<void> {
    this.#isExpectedToEnd = true;
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  #say(message: ToNode): void {
    // It may have been killed in the meantime.
    this.#child.send(message, () => {});
  }

  #heard(message: FromNode): void {
    if (message.type === "records") this.#listener.heard(message.records, message.events);
    else if (message.type === "complaint") this.#listener.complained(message.text);
    this.#waiting = this.#waiting.filter(({ type, resolve }) => {
      if (type === message.type) resolve(message);
      return type !== message.type;
    });
  }

  #next(type: FromNode["type"]): Promise<FromNode> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`A node did not say "${type}" in 120 s`)), ANSWER_MS);
      this.#waiting.push({
        type,
        resolve: (message) => {
          clearTimeout(late);
          resolve(message);
        },
      });
    });
  }
}
