import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { transformSync } from "esbuild";
import { expect, test } from "vitest";
import { MUTATIONS } from "./mutation-list.ts";
import { isIndexed, parseOptions, replayCommand } from "./options.ts";
import { checkShortly, expectNoViolation, SHORT } from "./short-run.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const MAIN = "test/consistency/main.ts";

/** `npm run check:consistency`, as anybody would start it. */
function command(...args: string[]): Promise<{ status: number; output: string }> {
  return new Promise((resolve) => {
    const options = { cwd: ROOT, maxBuffer: 64 * 1024 * 1024 };
    const child = execFile(process.execPath, ["--import", "tsx", MAIN, ...args], options, (_, out, error) => {
      resolve({ status: child.exitCode ?? -1, output: `${out}\n${error}` });
    });
  });
}

test("four processes under faults keep every guarantee", async () => {
  const { status, output } = await command(...SHORT, "--seed", "11");
  expect(status, output).toBe(0);
  expectNoViolation(output);
});

test.each([
  ["--seed 12 --merge"],
  ["--seed 15 --pool"],
  ["--seed 16 --index"],
  ["--seed 17 --stale"],
  ["--seed 18 --tracking"],
])("four processes under faults keep every guarantee: %s", async (args) => {
  expectNoViolation(await checkShortly(args));
});

test("options that cannot be understood are refused, and the usage is told", async () => {
  const { status, output } = await command("--nodes", "one");
  expect(status).toBe(2);
  expect(output).toContain("--nodes: expected a number from 2, got one");
  expect(output).toContain("--seed <n>");
});

test("each mode but the index is off unless it is asked for, and a replay asks for the same", () => {
  expect(parseOptions(["--seed", "1"])).toMatchObject({
    merge: false,
    pool: false,
    index: "half",
    stale: false,
    tracking: false,
  });
  const options = parseOptions(["--seed", "1", "--pool", "--index", "--merge", "--stale", "--tracking"]);
  expect(options).toMatchObject({ merge: true, pool: true, index: "all", stale: true, tracking: true });
  const [, , , ...args] = replayCommand(options, 7, 20).split(" ");
  expect(parseOptions(args.slice(1))).toEqual({ ...options, seed: 7, seconds: 20 });
});

test.each<[string[], boolean[]]>([
  [[], [true, false, true, false]],
  [["--index"], [true, true, true, true]],
  [["--no-index"], [false, false, false, false]],
  [
    ["--topology", "cluster"],
    [false, false, false, false],
  ],
])("the rounds with an index: %j", (args, expected) => {
  const options = parseOptions(args);
  expect([10, 11, 12, 13].map((seed) => isIndexed(options, seed))).toEqual(expected);
  const again = (seed: number) => parseOptions(replayCommand(options, seed, 20).split(" ").slice(4));
  expect([10, 11, 12, 13].map((seed) => isIndexed(again(seed), seed))).toEqual(expected);
});

test("--index and --no-index exclude each other", () => {
  expect(() => parseOptions(["--index", "--no-index"])).toThrow("--no-index: not with --index");
});

test.each(["--pool", "--tracking"])("%s needs a single Redis", (option) => {
  expect(() => parseOptions([option, "--topology", "cluster"])).toThrow(
    `${option}: expected --topology single, got cluster`,
  );
});

test("what the list of mutations breaks is there, each once", () => {
  const misses = MUTATIONS.flatMap(({ name, edits }) =>
    edits
      .filter(({ file, from }) => readFileSync(`${ROOT}lib/${file}`, "utf8").split(from).length !== 2)
      .map(({ file }) => `${name}: lib/${file}`),
  );
  expect(misses).toEqual([]);
});

test.each(MUTATIONS)('broken as in "$name", the store can be compiled', ({ edits }) => {
  const texts = new Map<string, string>();
  for (const { file, from, to } of edits) {
    const text = texts.get(file) ?? readFileSync(`${ROOT}lib/${file}`, "utf8");
    texts.set(
      file,
      text.replace(from, () => to),
    );
  }
  for (const [file, text] of texts) expect(transformSync(text, { loader: "ts" }).code, file).not.toBe("");
});
