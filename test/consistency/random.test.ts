import { expect, test } from "vitest";
import { Random, Turns } from "./random.ts";

test("with turns, each key is chosen as often as its weight says, at any time and whatever the seed", () => {
  const weights = { often: 8, seldom: 3, rarely: 1 } as const;
  const entries = Object.entries(weights) as [keyof typeof weights, number][];
  let furthestOff = 0;
  for (let seed = 0; seed < 200; seed++) {
    const turns = new Turns(new Random(seed));
    const counts = { often: 0, seldom: 0, rarely: 0 };
    for (let i = 1; i <= 60; i++) {
      counts[turns.next(weights)]++;
      for (const [key, weight] of entries) {
        furthestOff = Math.max(furthestOff, Math.abs(counts[key] - (i * weight) / 12));
      }
    }
  }
  expect(furthestOff).toBeLessThan(2);
});

test("a key that cannot be chosen now is chosen as soon as it can be", () => {
  const turns = new Turns(new Random(1));
  const weights = { first: 1, second: 1 } as const;
  for (let i = 0; i < 5; i++) expect(turns.next(weights, (key) => key === "second")).toBe("second");
  for (let i = 0; i < 5; i++) expect(turns.next(weights)).toBe("first");
});
