import type { ChildProcess, Serializable } from "node:child_process";
import { ended, startChild } from "./child.ts";

/** What a process can be asked to do, by name. */
export type Handlers = Record<string, (argument: never) => unknown>;

interface Call {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

/** From within a child: does what its parent asks for, until that lets go. */
export function serve(handlers: Handlers): void {
  process.on("message", async ({ id, name, argument }: Call) => {
    let answer: Answer;
    try {
      answer = { id, result: await handlers[name]?.(argument as never) };
    } catch (error) {
      answer = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    process.send?.(answer);
  });
  process.on("disconnect", () => process.exit(0));
}

/** A process that serves. */
export class Remote<H extends Handlers> {
  readonly #child: ChildProcess;
  readonly #what: string;
  readonly #waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  readonly #ended: Promise<void>;
  #lastId = 0;

  constructor(file: URL, args: readonly string[] = [], flags: readonly string[] = []) {
    this.#what = args.join(" ");
    this.#child = startChild(file, args, flags);
    this.#ended = ended(this.#child, this.#what);
    this.#ended.catch((error: Error) => {
      for (const { reject } of this.#waiting.values()) reject(error);
    });
    this.#child.on("message", ({ id, result, error }: Answer) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(`${this.#what}: ${error}`));
    });
  }

  get pid(): number {
    return this.#child.pid as number;
  }

  call<K extends keyof H & string>(
    name: K,
    argument?: Parameters<H[K]>[0],
  ): Promise<Awaited<ReturnType<H[K]>>> {
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, name, argument } as Serializable);
    });
  }

  /** Lets it go, and waits until it is gone. */
  async end(): Promise<void> {
    this.#child.disconnect();
    await this.#ended;
  }
}
