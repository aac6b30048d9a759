// Builds dist/: ES modules and CommonJS, each with its own types, from the same sources.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

rmSync("dist", { recursive: true, force: true });
for (const [format, project, ...unchecked] of [
  ["esm", "tsconfig.build.json"],
  ["cjs", "tsconfig.cjs.json", "--noCheck"],
]) {
  // Comments are for editors, which read the types: without them, the code is half as long. Types are checked once.
  for (const options of [
    ["--emitDeclarationOnly", ...unchecked],
    ["--removeComments", "--declaration", "false", "--isolatedDeclarations", "false", "--noCheck"],
  ])
    execFileSync(process.execPath, [tsc, "-p", project, ...options], { stdio: "inherit" });
  const folder = join("dist", format);
  // The compiler rewrites the extensions of imports in the code, not in the types.
  const declarations = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".d.ts"));
  for (const file of declarations) {
    const types = readFileSync(join(folder, file), "utf8");
    writeFileSync(join(folder, file), types.replace(/((?:from |import\()"\.\.?\/[^"]+)\.ts"/g, '$1.js"'));
  }
  const type = format === "esm" ? "module" : "commonjs";
  writeFileSync(join(folder, "package.json"), `${JSON.stringify({ type })}\n`);
}
