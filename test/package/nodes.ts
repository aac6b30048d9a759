import { execFileSync } from "node:child_process";
import { startRedis } from "../support/redis-server.ts";
import { installPacked } from "./packed.ts";

/**
 * Runs the packed package on other versions of Node, on Bun and on Deno, fetched from the npm registry:
 * npm run test:nodes -- node@22 bun@1
 */
const runtimes = process.argv.slice(2);
const ALL = ["node@20", "node@22", "node@24", "node@26", "bun@1", "deno@2"];

/** The command line that runs a program. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  node: ["node"],
  bun: ["bun"],
  deno: ["deno", "run", "--allow-all", "--node-modules-dir=manual"],
};

const redis = await startRedis();
const { folder, remove } = installPacked();
try {
  for (const runtime of runtimes.length > 0 ? runtimes : ALL) {
    const [name = ""] = runtime.split("@");
    const command = COMMANDS[name];
    if (command === undefined) throw new TypeError(`${runtime}: expected for example ${ALL.join(", ")}`);
    for (const program of ["use.mjs", "use.cjs"]) {
      execFileSync("npx", ["-y", "-p", runtime, ...command, program], {
        cwd: folder,
        stdio: ["ignore", "inherit", "ignore"],
        env: { ...process.env, REDIS_URL: redis.url },
      });
      console.log(`${runtime}: ${program} passed`);
    }
  }
} finally {
  remove();
  await redis.stop();
}
