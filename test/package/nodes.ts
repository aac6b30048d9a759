import { execFileSync } from "node:child_process";
import { startRedis } from "../support/redis-server.ts";
import { installPacked } from "./packed.ts";

/** Runs the packed package on other versions of Node, fetched from the npm registry: npm run test:nodes -- 22 24 */
const versions = process.argv.slice(2);
const redis = await startRedis();
const { folder, remove } = installPacked();
try {
  for (const version of versions.length > 0 ? versions : ["20", "22", "24", "26"]) {
    for (const program of ["use.mjs", "use.cjs"]) {
      execFileSync("npx", ["-y", "-p", `node@${version}`, "node", program], {
        cwd: folder,
        stdio: ["ignore", "inherit", "ignore"],
        env: { ...process.env, REDIS_URL: redis.url },
      });
    }
  }
} finally {
  remove();
  await redis.stop();
}
