import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const FOLDER = new URL("../results/", import.meta.url);

/** Writes what a run has measured to `test/bench/results/<name>.json`. */
export function writeResults(name: string, results: object): void {
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(new URL(`${name}.json`, FOLDER), `${JSON.stringify(results, null, 2)}\n`);
  console.log(`\nWritten to test/bench/results/${name}.json`);
}

/** What an earlier run has measured, if there was one. */
export function earlierResults<T>(name: string): T | undefined {
  try {
    return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8")) as T;
  } catch {
    return undefined;
  }
}
