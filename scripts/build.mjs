// Builds dist/: ES modules and CommonJS, each with its own types, from the same sources.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

rmSync("dist", { recursive: true, force: true });
for (const [format, project] of [
  ["esm", "tsconfig.build.json"],
  ["cjs", "tsconfig.cjs.json"],
]) {
  execFileSync(process.execPath, [tsc, "-p", project], { stdio: "inherit" });
  mkdirSync(`dist/${format}`, { recursive: true });
  const type = format === "esm" ? "module" : "commonjs";
  writeFileSync(`dist/${format}/package.json`, `${JSON.stringify({ type })}\n`);
}
