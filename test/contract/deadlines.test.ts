import { expect, test } from "vitest";
import { newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

/** Longer than a busy machine takes for a command. */
const TIMEOUT_MS = 1_000;

/** Occupies the event loop, so that nothing else runs. */
function block(ms: number): void {
  const start = performance.now();
  while (performance.now() - start < ms);
}

test("replies that arrived while the event loop was blocked for longer than commandTimeoutMs are read first", async () => {
  const space = newSpace();
  const { store, data } = await startNode(space, {
    store: { commandTimeoutMs: TIMEOUT_MS },
    readsOnClient: true,
  });
  await store.set("s", sessionOf({ v: 1 }));
  store.evictFromCache("s");
  data.hold("toClient");
  const executed = data.seen("toClient", '"v":1');
  const reading = store.get("s");
  await executed;
  // The proxy, in this process, sends on before the loop is blocked: from then on the reply is in the kernel.
  data.release("toClient");
  block(TIMEOUT_MS + 100);
  expect(valuesOf(await reading)).toEqual({ v: 1 });
});

test("a reply that does not arrive is an error even so", async () => {
  const options = { store: { commandTimeoutMs: TIMEOUT_MS }, readsOnClient: true };
  const { store, data } = await startNode(newSpace(), options);
  data.hold("toClient");
  const reading = store.get("s");
  block(TIMEOUT_MS + 100);
  await expect(reading).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  data.release("toClient");
});
