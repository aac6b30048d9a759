import { type ChildProcess, fork, type Serializable } from "node:child_process";

const FLAGS = ["--expose-gc", "--no-warnings", "--import", import.meta.resolve("tsx")];

/** A TypeScript file as a process of its own; it says what it has to say with `process.send`. */
export function startChild(
  file: URL,
  args: readonly string[] = [],
  flags: readonly string[] = [],
): ChildProcess {
  return fork(file, args, {
    execArgv: [...FLAGS, ...flags],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    // Neither "production", in which MemoryStore warns of itself, nor "development".
    env: { ...process.env, NODE_ENV: "benchmark" },
  });
}

/** The one thing that a process says, once it has ended. */
export async function resultOf<T>(file: URL, args: readonly string[]): Promise<T> {
  const child = startChild(file, args);
  let result: unknown;
  child.once("message", (message) => {
    result = message;
    child.disconnect();
  });
  await ended(child, args.join(" "));
  if (result === undefined) throw new Error(`${file.pathname} ${args.join(" ")} gave no result`);
  return result as T;
}

/** Resolves when a process has ended well. */
export function ended(child: ChildProcess, what: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`${what}: ended with ${signal ?? `code ${code}`}`));
    });
  });
}

/** From within a child: hands its result to its parent. */
export function report(result: Serializable): void {
  process.send?.(result);
}
