/**
 * Breaks a copy of the store on purpose, in every way of the list, and runs the checker against each: one that has never
 * caught anything proves nothing. Prints a table of what caught what; the exit status is 1 if something went through, or if
 * something was found in the copy that was left as it is, or in one whose mistake is safe.
 */
import { execFile } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { MUTATIONS, type Mutation } from "./mutation-list.ts";
import type { Summary } from "./report.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** What is broken: the store as it is, or another copy of it. */
const LIBRARY = process.env["CONSISTENCY_LIBRARY"] ?? pathToFileURL(join(ROOT, "lib/index.ts")).href;
const MAIN = fileURLToPath(new URL("./main.ts", import.meta.url));

const { values, positionals } = parseArgs({
  options: {
    topology: { type: "string", default: "single" },
    allowance: { type: "string", default: "50" },
    /** Slower on a busy machine, where otherwise little is answered in time. */
    rate: { type: "string", default: "200" },
    /** At the most: what faults show, they mostly show in one of these. */
    rounds: { type: "string", default: "5" },
  },
  allowPositionals: true,
});
const [only] = positionals;

function broken({ name, edits }: Mutation): string {
  const folder = mkdtempSync(join(tmpdir(), "mutation-"));
  cpSync(dirname(fileURLToPath(LIBRARY)), join(folder, "lib"), { recursive: true });
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  for (const { file, from, to } of edits) {
    const path = join(folder, "lib", file);
    const text = readFileSync(path, "utf8");
    if (text.split(from).length !== 2) {
      throw new Error(
        `"${name}": lib/${file} does not contain exactly once what is to be replaced:\n${from}`,
      );
    }
    writeFileSync(
      path,
      text.replace(from, () => to),
    );
  }
  return folder;
}

function run(folder: string, { flags = [], seed = 100 }: Mutation): Promise<Summary> {
  const isSingle = values.topology === "single" && !flags.includes("--topology");
  const seconds = Number(values.rounds) * (isSingle ? 20 : 50);
  const library = pathToFileURL(join(folder, "lib/index.ts")).href;
  const args = [
    "--import",
    import.meta.resolve("tsx"),
    MAIN,
    "--seed",
    String(seed),
    ...["--seconds", String(seconds)],
    ...["--fail-fast", "--json", "--rate", values.rate],
    "--topology",
    values.topology,
    ...flags,
    ...(isSingle && !flags.includes("--index") ? ["--no-index"] : []),
    ...["--allowance", values.allowance],
  ];
  return new Promise((resolve, reject) => {
    const options = {
      env: { ...process.env, CONSISTENCY_LIBRARY: library },
      maxBuffer: 64 * 1024 * 1024,
    };
    execFile(process.execPath, args, options, (error, stdout, stderr) => {
      // Asked for one of them, one wants to see more.
      if (only !== undefined) console.error(stderr);
      try {
        resolve(JSON.parse(stdout) as Summary);
      } catch {
        reject(new Error(`The checker failed: ${error?.message}\n${stderr.slice(-2_000)}`));
      }
    });
  });
}

const CONTROL: Mutation = { name: "nothing", edits: [], isSafe: true };
const chosen = [CONTROL, ...MUTATIONS].filter(({ name }) => only === undefined || name.includes(only));
// All are made before the first runs: a list that no longer fits the store is found out at once.
const folders = chosen.map(broken);
let failures = 0;
console.log("| broken on purpose | run with | caught by | in round |\n| --- | --- | --- | --- |");
for (const [i, mutation] of chosen.entries()) {
  const summary = await run(folders[i] as string, mutation);
  const caught = Object.entries(summary.violations).filter(([, count]) => count > 0);
  if ((caught.length === 0) !== (mutation.isSafe === true)) failures++;
  const by = caught.map(([guarantee, count]) => `${guarantee} (${count})`).join(", ") || "nothing";
  const flags = (mutation.flags ?? []).join(" ");
  console.log(`| ${mutation.name} | ${flags} | ${by} | ${summary.rounds} |`);
}
for (const folder of folders) rmSync(folder, { recursive: true, force: true });
process.exit(failures === 0 ? 0 : 1);
