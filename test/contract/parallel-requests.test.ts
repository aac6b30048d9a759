import { expect, inject, test } from "vitest";
import { play } from "../../docs/examples/parallel-requests/flows.ts";

test("merge: ten parallel requests on two processes, each adding its own key, end with all ten", async () => {
  expect(await play("merge", inject("redisUrl"))).toEqual({ keysKept: 10, cameBack: false });
});

test("overwrite: a request that was under way does not restore what was logged out on another process", async () => {
  const { keysKept, cameBack } = await play("overwrite", inject("redisUrl"));
  expect(cameBack).toBe(false);
  // As with connect-redis: whoever comes last has the say, so there is at least one, and nothing says which.
  expect(keysKept).toBeGreaterThanOrEqual(1);
});
