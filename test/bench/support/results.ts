import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const FOLDER = new URL("../results/", import.meta.url);

/** More digits than that are noise. */
const DIGITS = 4;

/**
 * Writes what a run has measured to `test/bench/results/<name>.json`, what a quick one has to `<name>-quick.json`. Git ignores the
 * latter; the others are the sources of what the documentation says.
 */
export function writeResults(name: string, results: object, isQuick: boolean): void {
  mkdirSync(FOLDER, { recursive: true });
  const file = `${name}${isQuick ? "-quick" : ""}.json`;
  writeFileSync(new URL(file, FOLDER), textOf(results));
  console.log(`\nWritten to test/bench/results/${file}`);
}

/** What an earlier run has measured, if there was one. */
export function earlierResults<T>(name: string): T | undefined {
  try {
    return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8")) as T;
  } catch {
    return undefined;
  }
}

/** JSON in which what belongs together is in one line. */
function textOf(results: object): string {
  const rounded = (_key: string, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(DIGITS)) : value;
  const line = (value: unknown) => JSON.stringify(value, rounded);
  const isGroup = (value: unknown): value is object => value !== null && typeof value === "object";
  const parts = Object.entries(JSON.parse(JSON.stringify(results)) as object).map(([key, value]) => {
    if (!isGroup(value) || Array.isArray(value)) return `${line(key)}: ${line(value)}`;
    const lines = Object.entries(value).map(([name, each]) => `  ${line(name)}: ${line(each)}`);
    return `${line(key)}: {\n${lines.join(",\n")}\n}`;
  });
  return `{\n${parts.join(",\n")}\n}\n`;
}
