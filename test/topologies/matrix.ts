import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { atExit } from "../support/redis/at-exit.ts";

/**
 * Runs the tests of the contract, guarantees and topologies against each given server, one after the other, and prints a table.
 *
 * A server is the path of a redis-server or valkey-server, or else the name of a Docker image.
 */
const USAGE = `npm run test:matrix -- [--only <path of tests> …] [--workers <n>] <server program or image> …

  npm run test:matrix -- /usr/bin/redis-server /opt/valkey-8.1/valkey-server redis:8-alpine valkey/valkey:9`;

const SUITE = ["test/guarantees", "test/contract", "test/topologies"];

interface Outcome {
  readonly server: string;
  readonly version: string;
  readonly passed: number;
  readonly failed: readonly string[];
}

/** What is read of vitest's report. */
interface Report {
  readonly numPassedTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

const folder = mkdtempSync(join(tmpdir(), "matrix-"));
atExit(() => rmSync(folder, { recursive: true, force: true }));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { only: { type: "string", multiple: true }, workers: { type: "string" } },
});
if (positionals.length === 0) {
  console.error(USAGE);
  process.exit(2);
}
const outcomes: Outcome[] = [];
for (const [i, server] of positionals.entries()) outcomes.push(await run(server, i));
print(outcomes);
process.exitCode = outcomes.every(({ passed, failed }) => passed > 0 && failed.length === 0) ? 0 : 1;

async function run(server: string, i: number): Promise<Outcome> {
  const env = canRun(server)
    ? { ...process.env, TEST_REDIS: "process", PATH: firstOnPath(server, i) }
    : { ...process.env, TEST_REDIS: "docker", TEST_REDIS_IMAGE: server };
  const tests = values.only ?? SUITE;
  const file = join(folder, `${i}.json`);
  console.log(`\n${server}`);
  const workers = values.workers === undefined ? [] : [`--maxWorkers=${values.workers}`];
  const report = ["--reporter=dot", "--reporter=json", `--outputFile.json=${file}`];
  const output = await vitest([...tests, ...workers, ...report], env);
  const [, version = "?"] = /Tests use (.+?) \(/.exec(output) ?? [];
  return { server, version, ...outcomeIn(file) };
}

function vitest(args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const program = resolve("node_modules/vitest/vitest.mjs");
  const child = spawn(process.execPath, [program, "run", ...args], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const forget = atExit(() => child.kill());
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    process.stdout.write(chunk);
  });
  return new Promise((done, failed) => {
    child.on("error", failed);
    child.on("close", () => {
      forget();
      done(output);
    });
  });
}

function outcomeIn(file: string): { passed: number; failed: string[] } {
  let report: Report;
  try {
    report = JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    return { passed: 0, failed: ["the run itself"] };
  }
  const failed = report.testResults.flatMap(({ name, status, assertionResults, message }) => {
    const tests = assertionResults.filter((test) => test.status === "failed").map((test) => test.fullName);
    return tests.length === 0 && status === "failed"
      ? [`${basename(name)}: ${message.split("\n")[0]}`]
      : tests;
  });
  return { passed: report.numPassedTests, failed };
}

function canRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
  } catch {
    return false;
  }
  return spawnSync(path, ["--version"], { stdio: "ignore" }).status === 0;
}

/** The PATH with a folder before it in which this program goes by the name that tests look for first. */
function firstOnPath(program: string, i: number): string {
  const shim = mkdtempSync(join(folder, `${i}-`));
  symlinkSync(resolve(program), join(shim, "redis-server"));
  return `${shim}${delimiter}${process.env["PATH"] ?? ""}`;
}

function print(outcomes: readonly Outcome[]): void {
  console.log("\n| server | version | passed | failed |\n| --- | --- | ---: | ---: |");
  for (const { server, version, passed, failed } of outcomes) {
    console.log(`| ${basename(server)} | ${version} | ${passed} | ${failed.length} |`);
  }
  for (const { version, failed } of outcomes) {
    if (failed.length > 0)
      console.log(`\nFailed with ${version}:\n${failed.map((test) => `- ${test}`).join("\n")}`);
  }
}
