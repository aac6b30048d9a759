import { readFileSync, writeFileSync } from "node:fs";

const PAGE = new URL("../../docs/guides/benchmarks.md", import.meta.url);

/** A part of the page that is made from the results of a run. */
const PART = /(<!-- bench: ([\w ]+) -->\n)(.*?)(<!-- \/bench -->)/gs;

/** The page of the benchmarks with the parts that a run has measured; the text around them stays. */
export function pageWith(parts: Readonly<Record<string, string>>, page: string = readPage()): string {
  return page.replace(PART, (whole, head: string, name: string, _old: string, tail: string) => {
    const part = parts[name];
    return part === undefined ? whole : `${head}\n${part}\n\n${tail}`;
  });
}

export function readPage(): string {
  return readFileSync(PAGE, "utf8");
}

/** Writes the tables to docs/guides/benchmarks.md. */
export function publish(parts: Readonly<Record<string, string>>): void {
  writeFileSync(PAGE, pageWith(parts));
  console.log("Written to docs/guides/benchmarks.md");
}
