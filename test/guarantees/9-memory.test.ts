import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { ShapeMemory } from "../support/memory-of-shapes.ts";

const PROGRAM = fileURLToPath(new URL("../support/memory-of-shapes.ts", import.meta.url));

test("what the cache counts is what sessions take, whatever they hold", async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", "--import", "tsx", PROGRAM]);
  const shapes = JSON.parse(stdout) as ShapeMemory[];
  console.table(shapes.map((each) => ({ ...each, ratio: (each.counted / each.real).toFixed(2) })));
  expect(shapes.length).toBeGreaterThanOrEqual(6);
  for (const { shape, counted, real } of shapes) {
    expect(counted / real, shape).toBeGreaterThan(0.5);
    expect(counted / real, shape).toBeLessThan(2);
  }
});
