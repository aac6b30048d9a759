import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import { StaleEntries } from "../../lib/cache/stale-entries.ts";
import { Outage } from "../../lib/redis/outage.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { StaleFallback } from "../../lib/sessions/stale-fallback.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: () => void = runInNewContext("gc");

function heapUsed(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test("a read that Redis answers leaves nothing behind that would wait for an outage", async () => {
  const stored = new StoredSession({ serializer: JSON, prefix: "" }, '{"cookie":{}}', undefined);
  const entries = new StaleEntries<StoredSession>(60_000, {});
  entries.keep([["a", stored]], performance.now());
  const stale = new StaleFallback(entries, new Outage(), createCounters(), () => {});
  const read = () => stale.read("a", async () => stored);
  for (let i = 0; i < 1_000; i++) await read();
  const before = heapUsed();
  for (let i = 0; i < 50_000; i++) await read();
  expect(heapUsed() - before).toBeLessThan(4 * 1024 * 1024);
});
