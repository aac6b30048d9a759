// Builds dist/: ES modules and CommonJS, each with its own types, from the same sources.
import { execFileSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
/** @param {string} project @param {string[]} options */
const compile = (project, ...options) =>
  execFileSync(process.execPath, [tsc, "-p", project, ...options], { stdio: "inherit" });

rmSync("dist", { recursive: true, force: true });
compile("tsconfig.build.json", "--emitDeclarationOnly");
// The compiler rewrites the extensions of imports in the code, not in the types.
for (const file of readdirSync("dist/esm", { recursive: true }).filter((name) => name.endsWith(".d.ts"))) {
  const path = join("dist/esm", file);
  const types = readFileSync(path, "utf8");
  writeFileSync(path, types.replace(/((?:from |import\()"\.\.?\/[^"]+)\.ts"/g, '$1.js"'));
}
// Which format they describe is up to the package.json beside them.
cpSync("dist/esm", "dist/cjs", { recursive: true });

// Comments are for editors, which read the types: without them, the code is half as long.
const CODE = ["--removeComments", "--declaration", "false", "--isolatedDeclarations", "false", "--noCheck"];
for (const [format, project, type] of [
  ["esm", "tsconfig.build.json", "module"],
  ["cjs", "tsconfig.cjs.json", "commonjs"],
]) {
  compile(project, ...CODE);
  writeFileSync(join("dist", format, "package.json"), `${JSON.stringify({ type })}\n`);
}
