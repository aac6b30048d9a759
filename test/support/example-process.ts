import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { onTestFinished } from "vitest";
import { eventually } from "./eventually.ts";
import { linkPackages } from "./link-packages.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const EXAMPLES = join(ROOT, "docs/examples");

/** An example that runs as its reader would run it. */
export interface ExampleProcess extends StartingExample {
  readonly url: string;
}

/** The same, before it listens. */
export interface StartingExample {
  readonly child: ChildProcess;
  /** What it has printed so far, errors included. */
  readonly output: () => string;
  /** How it ended. */
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

/**
 * Starts an example on a free port and waits until it listens.
 * @param file its path in docs/examples/
 * @param modules other packages of this repository, to be found under the names that it imports
 */
export async function startExample(
  file: string,
  redisUrl: string,
  modules: Readonly<Record<string, string>> = {},
): Promise<ExampleProcess> {
  const starting = spawnExample(file, { REDIS_URL: redisUrl }, modules);
  const { child, output } = starting;
  const url = await eventually(
    () => {
      if (child.exitCode !== null) throw new Error(`it ended: ${output()}`);
      return /listening on (http\S+)/.exec(output())?.[1] ?? "";
    },
    { what: `${file} listens` },
  );
  return { ...starting, url };
}

/** Starts an example, with arguments. @param env what it has in its environment besides that of the tests, a port and a secret */
export function spawnExample(
  file: string,
  env: NodeJS.ProcessEnv,
  modules: Readonly<Record<string, string>> = {},
  args: readonly string[] = [],
): StartingExample {
  const path = Object.keys(modules).length === 0 ? join(EXAMPLES, file) : copyWith(file, modules);
  const loader = file.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  const child = spawn(process.execPath, [...loader, path, ...args], {
    // tsx takes the tsconfig.json that is here.
    cwd: dirname(path),
    env: {
      ...process.env,
      PORT: "0",
      SESSION_SECRET: "a secret of 32 characters or more",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<Awaited<ExampleProcess["ended"]>>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, output: () => output, ended };
}

/** A folder with the example, in which some packages are others. */
function copyWith(file: string, modules: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "example-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  cpSync(join(EXAMPLES, dirname(file)), folder, { recursive: true });
  linkPackages(folder, modules);
  return join(folder, file.slice(dirname(file).length + 1));
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** A visitor with one cookie, who talks to any process. */
export class Visitor {
  cookie = "";
  /** The last `Set-Cookie` header, with its attributes. */
  setCookie = "";

  async ask(to: ExampleProcess, method: "GET" | "POST", path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(new URL(path, to.url), {
      method,
      headers: {
        ...(this.cookie !== "" && { cookie: this.cookie }),
        ...(body !== undefined && { "content-type": "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const [cookie] = response.headers.getSetCookie();
    if (cookie !== undefined) {
      this.setCookie = cookie;
      this.cookie = cookie.split(";")[0] as string;
    }
    const text = await response.text();
    return { status: response.status, body: text.startsWith("{") ? JSON.parse(text) : text };
  }

  get(to: ExampleProcess, path: string): Promise<Answer> {
    return this.ask(to, "GET", path);
  }

  post(to: ExampleProcess, path: string, body?: unknown): Promise<Answer> {
    return this.ask(to, "POST", path, body);
  }
}
