import { expect, test } from "vitest";
import { type FanOutResults, report as reportFanOut } from "../bench/fan-out/report.ts";
import { pageWith, readPage } from "../bench/publish.ts";
import { report } from "../bench/report.ts";
import type { Results } from "../bench/results.ts";
import { earlierResults } from "../bench/support/results.ts";

test("the tables of the benchmarks are made from the results that are committed", () => {
  const page = readPage();
  const results = earlierResults<Results>("bench");
  const fanOut = earlierResults<FanOutResults>("fan-out");
  // Without results of a full run, the tables are those of older ways of measuring, and say so.
  const parts = { ...(results && report(results)), ...(fanOut && reportFanOut(fanOut)) };
  expect(pageWith(parts)).toBe(page);
});

test("a part of the page is replaced by its name, and the text around it stays", () => {
  const page =
    "a\n<!-- bench: one -->\n\nold\n\n<!-- /bench -->\nb\n<!-- bench: two -->\n<!-- /bench -->\nc\n";
  expect(pageWith({ one: "new $1", three: "none" }, page)).toBe(
    "a\n<!-- bench: one -->\n\nnew $1\n\n<!-- /bench -->\nb\n<!-- bench: two -->\n<!-- /bench -->\nc\n",
  );
});
