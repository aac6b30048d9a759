import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { eventually } from "../support/eventually.ts";
import { linkPackages } from "../support/link-packages.ts";
import { freePort } from "../support/redis/free-port.ts";
import { type Page, ROOT } from "./markdown.ts";

/** A folder with the programs of a page, under the names that it gives them. */
export function folderOf(page: Page): string {
  const folder = mkdtempSync(join(tmpdir(), "page-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  linkPackages(folder);
  for (const { flags, code } of page.blocks) {
    const file = flags.get("file");
    if (file !== undefined) writeFileSync(join(folder, file), code);
    const other = flags.get("with");
    if (other !== undefined) copyFileSync(join(ROOT, "docs/examples", other), join(folder, basename(other)));
  }
  return folder;
}

export interface Running {
  readonly child: ChildProcess;
  readonly port: number;
  readonly ended: Promise<number | null>;
}

/** What a shell block makes its reader do. */
export interface Story {
  /** `PORT=3001 node app.mjs &` */
  readonly starts: readonly {
    readonly port: string;
    readonly env: NodeJS.ProcessEnv;
    readonly file: string;
  }[];
  /** `kill %1 %2`: how many of the started programs it ends. */
  readonly stops: number;
  /** `curl …`, and what it prints. */
  readonly visits: readonly {
    readonly method: string;
    readonly url: URL;
    readonly answer: string;
    /** Whether curl tries again while nobody listens. */
    readonly waits: boolean;
  }[];
}

const IGNORED = /^(npm install |export SESSION_SECRET=|$)/;

/**
 * The block below a `run` block says what its requests print: a shell that takes `#` for an argument, as zsh does by default
 * when lines are pasted, would request what a comment says.
 * @param answers a line for each request
 * @throws for a line that it does not understand, which would otherwise go unnoticed
 */
export function readStory(code: string, answers: readonly string[] = []): Story {
  const starts: Story["starts"][number][] = [];
  const visits: Story["visits"][number][] = [];
  let stops = 0;
  for (const command of code.split("\n")) {
    const start = /^((?:\w+=\S+ )+)node (\S+) &$/.exec(command);
    if (start !== null) {
      const env = Object.fromEntries(
        (start[1] as string)
          .trim()
          .split(" ")
          .map((pair) => pair.split("=")),
      );
      starts.push({ port: env.PORT, env, file: start[2] as string });
    } else if (/^curl [^#]+$/.test(command)) {
      const method = /-X (\w+)/.exec(command)?.[1] ?? "GET";
      const waits = / --retry \d+ --retry-connrefused /.test(command);
      const url = new URL(`http://${command.split(" ").at(-1)}`);
      visits.push({ method, url, answer: answers[visits.length] ?? "", waits });
    } else if (/^kill( %\d+)+$/.test(command)) {
      stops += command.split("%").length - 1;
    } else if (!IGNORED.test(command)) throw new Error(`What is to be made of this? ${command}`);
  }
  if (answers.length > visits.length) throw new Error(`There are more answers than requests: ${answers}`);
  return { starts, stops, visits };
}

/** What pages let their readers make: `crypto.randomUUID()`. */
const SECRET = randomUUID();

/** Starts the processes of a story on free ports, and waits until they listen. @returns them, by the ports of the page */
export async function begin(story: Story, folder: string, redisUrl: string): Promise<Map<string, Running>> {
  const running = await Promise.all(
    story.starts.map(async (start) => [start.port, await run(start, folder, redisUrl)] as const),
  );
  return new Map(running);
}

async function run({ env, file }: Story["starts"][number], cwd: string, redisUrl: string): Promise<Running> {
  const port = await freePort();
  const child = spawn(process.execPath, [file], {
    cwd,
    env: { ...process.env, ...env, PORT: String(port), REDIS_URL: redisUrl, SESSION_SECRET: SECRET },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  await eventually(
    () => {
      if (child.exitCode !== null) throw new Error(`${file} ended: ${output}`);
      return canConnectTo(port);
    },
    { what: `${file} listens` },
  );
  return { child, port, ended };
}

function canConnectTo(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

/** Plays the visits of one browser, and compares the answers. */
export async function play({ visits }: Story, running: ReadonlyMap<string, Running>): Promise<true> {
  const jar = new Map<string, string>();
  const answers: string[] = [];
  for (const { method, url } of visits) {
    const address = `http://127.0.0.1:${running.get(url.port)?.port}${url.pathname}`;
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(address, { method, headers: cookie === "" ? {} : { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      jar.set(name, value);
    }
    answers.push((await response.text()).trim());
  }
  expect(answers).toEqual(visits.map(({ answer }) => answer));
  return true;
}
