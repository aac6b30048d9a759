import { test } from "vitest";
import { checkShortly, expectNoViolation } from "./short-run.ts";

test.each([
  ["--seed 13 --topology cluster"],
  ["--seed 19 --topology cluster --index"],
  ["--seed 14 --topology sentinel"],
])("four processes under faults keep every guarantee: %s", async (args) => {
  expectNoViolation(await checkShortly(args));
});
