import { expect, test } from "vitest";
import { isTooOld } from "../../lib/redis/tracking.ts";

test.each(["2.8", "6.2.14", "7.0.0", "7.0.4"])("Redis %s is too old to report changes", (version) => {
  expect(isTooOld(version)).toBe(true);
});

test.each(["7.0.5", "7.0.15", "7.2.0", "8.0.1", "10.0.0", undefined, "unknown"])("%s is not", (version) => {
  expect(isTooOld(version)).toBe(false);
});
