// Type-checks this repository and the examples that have a tsconfig.json of their own, all at the same time.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";

const PROJECTS = [".", "docs/examples/typescript", "docs/examples/nestjs", "docs/examples/demo/page"];
const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");

/** @param {string} project @param {number} i */
function check(project, i) {
  // What the compiler found last time is kept, so that it looks only at what has changed.
  const cache = join("build/types", `${i}.tsbuildinfo`);
  const args = [tsc, "-p", project, "--noEmit", "--incremental", "--tsBuildInfoFile", cache];
  return new Promise((resolve, reject) => {
    spawn(process.execPath, args, { stdio: "inherit" }).on("error", reject).on("close", resolve);
  });
}

const codes = await Promise.all(PROJECTS.map(check));
process.exitCode = codes.every((code) => code === 0) ? 0 : 1;
