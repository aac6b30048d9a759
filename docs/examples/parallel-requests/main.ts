import { startRedis } from "../../../test/support/redis-server.ts";
import { play } from "./flows.ts";
import { STORES } from "./stores.ts";

/** Shows what becomes of parallel requests, and of a logout meanwhile, with connect-redis and with this store. */
const redis = await startRedis();
console.log("store                                keys kept of ten   a logged-out session came back");
for (const store of STORES) {
  const { keysKept, cameBack } = await play(store, redis.url);
  const name = store === "connect-redis" ? store : `this store, onConflict: "${store}"`;
  console.log(`${name.padEnd(37)}${String(keysKept).padEnd(19)}${cameBack ? "yes" : "no"}`);
}
await redis.stop();
