// Builds dist/: ES modules and CommonJS, each with its own types, from the same sources.
import { spawn } from "node:child_process";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
/** @param {string} project @param {string[]} options */
function compile(project, ...options) {
  return new Promise((resolve, reject) => {
    const args = [tsc, "-p", project, ...options];
    spawn(process.execPath, args, { stdio: "inherit" }).on("error", reject).on("close", resolve);
  });
}

rmSync("dist", { recursive: true, force: true });
// Comments are for editors, which read the types: without them, the code is half as long.
const CODE = ["--removeComments", "--declaration", "false", "--isolatedDeclarations", "false", "--noCheck"];
// Each of the three keeps one core busy.
const codes = await Promise.all([
  compile("tsconfig.build.json", "--emitDeclarationOnly"),
  compile("tsconfig.build.json", ...CODE),
  compile("tsconfig.cjs.json", ...CODE),
]);
if (codes.some((code) => code !== 0)) process.exit(1);

// The compiler rewrites the extensions of imports in the code, not in the types.
for (const file of readdirSync("dist/esm", { recursive: true }).filter((name) => name.endsWith(".d.ts"))) {
  const path = join("dist/esm", file);
  const types = readFileSync(path, "utf8");
  writeFileSync(path, types.replace(/((?:from |import\()"\.\.?\/[^"]+)\.ts"/g, '$1.js"'));
  // Which format they describe is up to the package.json beside them.
  cpSync(path, join("dist/cjs", file));
}
writeFileSync("dist/esm/package.json", `${JSON.stringify({ type: "module" })}\n`);
writeFileSync("dist/cjs/package.json", `${JSON.stringify({ type: "commonjs" })}\n`);
