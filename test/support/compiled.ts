import { mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { atExit } from "./redis/at-exit.ts";

const BUILD = fileURLToPath(new URL("../../build/", import.meta.url));

/** The folder of this process. Within the repository, where packages are found. */
let folder: string | undefined;

export interface CompileOptions {
  /** Packages that become part of the file: all but these. Without it, none does. */
  readonly allPackagesBut?: readonly string[];
}

/**
 * A TypeScript file and what it imports as one file of JavaScript, for programs that are started often: tsx compiles all
 * of it again each time, and Node looks for hundreds of files of the packages.
 */
export function compiled(file: string, options: CompileOptions = {}): string {
  folder ??= newFolder();
  const outfile = join(folder, `${basename(file, ".ts")}.js`);
  compile(file, outfile, options);
  return outfile;
}

/** The same in build/, under a name that all processes share: one that is killed leaves nothing else behind. */
export function compiledAs(name: string, file: string, options: CompileOptions = {}): string {
  mkdirSync(BUILD, { recursive: true });
  const outfile = join(BUILD, name);
  const draft = `${outfile}.${process.pid}`;
  compile(file, draft, options);
  // At once: another process may be about to run it.
  renameSync(draft, outfile);
  return outfile;
}

/** Packages in CommonJS require Node's modules by that name. */
const REQUIRE =
  'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

function compile(file: string, outfile: string, { allPackagesBut }: CompileOptions): void {
  buildSync({
    ...{ entryPoints: [file], outfile, bundle: true, logLevel: "error" },
    ...{ platform: "node", format: "esm", target: "node20" },
    ...(allPackagesBut === undefined
      ? { packages: "external" }
      : { external: [...allPackagesBut], banner: { js: REQUIRE } }),
  });
}

function newFolder(): string {
  mkdirSync(BUILD, { recursive: true });
  const created = mkdtempSync(join(BUILD, "compiled-"));
  atExit(() => rmSync(created, { recursive: true, force: true }));
  return created;
}
