import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, inject, test } from "vitest";
import type { Report } from "../support/memory-of-shapes.ts";

/** What a program of test/support prints. */
async function measure(program: string, ...args: string[]): Promise<unknown> {
  const path = fileURLToPath(new URL(`../support/${program}.ts`, import.meta.url));
  const options = ["--expose-gc", "--import", "tsx", path, ...args];
  return JSON.parse((await promisify(execFile)(process.execPath, options)).stdout);
}

// Much computing, and more of it collecting garbage.
const LONG = { timeout: 600_000 };

test(
  "what the cache counts is what sessions take, whatever they contain, and nothing of them is left",
  LONG,
  async () => {
    const { shapes, left } = (await measure("memory-of-shapes")) as Report;
    console.table(shapes.map((each) => ({ ...each, ratio: (each.counted / each.real).toFixed(2) })));
    for (const { shape, counted, real } of shapes) {
      const isOrdinary = shape.startsWith("ordinary");
      expect(counted / real, shape).toBeGreaterThan(isOrdinary ? 0.6 : 0.5);
      expect(counted / real, shape).toBeLessThan(isOrdinary ? 1.2 : 2);
    }
    expect(shapes.filter(({ shape }) => shape.startsWith("ordinary"))).toHaveLength(3);
    expect(left).toBeLessThan(4 * 1024 * 1024);
  },
);

test("with its subscriptions, too, and no cached session keeps a Cookie header alive", async () => {
  const outcome = await measure("memory-of-subscriptions", inject("redisUrl"));
  const { counted, real, size } = outcome as { counted: number; real: number; size: number };
  console.log(outcome);
  expect(size).toBeGreaterThan(9_000);
  expect(counted / real).toBeGreaterThan(0.6);
  expect(counted / real).toBeLessThan(1.2);
});
