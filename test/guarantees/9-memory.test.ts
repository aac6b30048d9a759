import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { Report } from "../support/memory-of-shapes.ts";

const PROGRAM = fileURLToPath(new URL("../support/memory-of-shapes.ts", import.meta.url));

test("what the cache counts is what sessions take, whatever they contain, and nothing of them is left", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", "--import", "tsx", PROGRAM]);
  const { shapes, left } = JSON.parse(stdout) as Report;
  console.table(shapes.map((each) => ({ ...each, ratio: (each.counted / each.real).toFixed(2) })));
  for (const { shape, counted, real } of shapes) {
    const isOrdinary = shape.startsWith("ordinary");
    expect(counted / real, shape).toBeGreaterThan(isOrdinary ? 0.6 : 0.5);
    expect(counted / real, shape).toBeLessThan(isOrdinary ? 1.2 : 2);
  }
  expect(shapes.filter(({ shape }) => shape.startsWith("ordinary"))).toHaveLength(3);
  expect(left).toBeLessThan(4 * 1024 * 1024);
});
