import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { atExit } from "./redis/at-exit.ts";

const BUILD = fileURLToPath(new URL("../../build/", import.meta.url));

/** The folder of this process. Within the repository, where packages are found. */
let folder: string | undefined;

/**
 * A TypeScript file and what it imports as one file of JavaScript, for programs that are started often: tsx compiles all
 * of it again each time. Packages are not part of it.
 */
export function compiled(file: string): string {
  folder ??= newFolder();
  const outfile = join(folder, `${basename(file, ".ts")}.js`);
  buildSync({
    ...{ entryPoints: [file], outfile, bundle: true, packages: "external" },
    ...{ platform: "node", format: "esm", target: "node20", logLevel: "error" },
  });
  return outfile;
}

function newFolder(): string {
  mkdirSync(BUILD, { recursive: true });
  const created = mkdtempSync(join(BUILD, "compiled-"));
  atExit(() => rmSync(created, { recursive: true, force: true }));
  return created;
}
