import fc from "fast-check";
import { expect, test } from "vitest";
import { ExpiryWheel } from "../../lib/cache/expiry-wheel.ts";

/** Takes off all that has expired. */
function drain(wheel: ExpiryWheel): number[] {
  const drained: number[] = [];
  for (let slot = wheel.firstExpired(); slot !== undefined; slot = wheel.firstExpired()) {
    wheel.cancel(slot);
    drained.push(slot);
    if (drained.length > 10_000) throw new Error("the list of the expired has no end");
  }
  return drained.sort((a, b) => a - b);
}

test("a slot has expired at its deadline and not a millisecond before", () => {
  const wheel = new ExpiryWheel(1_000, 5_000, 4);
  wheel.schedule(1, 5_700);
  wheel.advance(5_699);
  expect(wheel.firstExpired()).toBeUndefined();
  wheel.advance(5_700);
  expect(wheel.firstExpired()).toBe(1);
});

test("an expired slot stays until it is cancelled", () => {
  const wheel = new ExpiryWheel(1_000, 0, 4);
  wheel.schedule(1, 10);
  wheel.advance(10);
  expect([wheel.firstExpired(), wheel.firstExpired()]).toEqual([1, 1]);
  wheel.cancel(1);
  expect(wheel.firstExpired()).toBeUndefined();
});

test("a cancelled slot never expires", () => {
  const wheel = new ExpiryWheel(1_000, 0, 4);
  wheel.schedule(1, 10);
  wheel.schedule(2, 900);
  wheel.cancel(1);
  wheel.cancel(2);
  wheel.advance(2_000);
  expect(wheel.firstExpired()).toBeUndefined();
});

test("a deadline that is over has expired at once", () => {
  const wheel = new ExpiryWheel(1_000, 100, 4);
  wheel.schedule(1, 100);
  expect(wheel.firstExpired()).toBe(1);
});

test("a time that lies behind changes nothing", () => {
  const wheel = new ExpiryWheel(1_000, 0, 4);
  wheel.advance(500);
  wheel.advance(10);
  wheel.schedule(1, 510);
  wheel.advance(509);
  expect(wheel.firstExpired()).toBeUndefined();
  wheel.advance(510);
  expect(wheel.firstExpired()).toBe(1);
});

test.each([1_000, 1_001, 5_000, 1_000_000_000])("a jump of %i ms expires all that was scheduled", (jump) => {
  const wheel = new ExpiryWheel(1_000, 0, 1_001);
  for (let slot = 1; slot <= 1_000; slot++) wheel.schedule(slot, slot);
  wheel.advance(jump);
  expect(drain(wheel)).toHaveLength(1_000);
});

test("every millisecond expires its own slots and no others", () => {
  const wheel = new ExpiryWheel(1_000, 0, 1_001);
  for (let slot = 1; slot <= 1_000; slot++) wheel.schedule(slot, slot);
  for (let time = 1; time <= 1_000; time++) {
    wheel.advance(time);
    expect(drain(wheel)).toEqual([time]);
  }
});

test("growing keeps what is scheduled, and when", () => {
  const wheel = new ExpiryWheel(1_000, 0, 4);
  wheel.schedule(1, 10);
  wheel.schedule(2, 900);
  wheel.grow(100);
  wheel.schedule(99, 900);
  wheel.advance(10);
  expect(drain(wheel)).toEqual([1]);
  wheel.advance(899);
  expect(wheel.firstExpired()).toBeUndefined();
  wheel.advance(900);
  expect(drain(wheel)).toEqual([2, 99]);
});

test("a reset forgets what is scheduled and what has expired, and sets the time", () => {
  const wheel = new ExpiryWheel(1_000, 0, 4);
  wheel.schedule(1, 10);
  wheel.schedule(2, 500);
  wheel.advance(10);
  wheel.reset(700);
  wheel.advance(2_000);
  expect(wheel.firstExpired()).toBeUndefined();
  wheel.reset(3_000);
  wheel.schedule(1, 3_001);
  expect(wheel.firstExpired()).toBeUndefined();
  wheel.advance(3_001);
  expect(wheel.firstExpired()).toBe(1);
});

test("whatever is scheduled, cancelled and waited for, exactly the expired are found", () => {
  /** Times are below 2³², deadlines included. */
  const LATEST = 2 ** 32 - 4_000;
  const slot = fc.integer({ min: 1, max: 20 });
  const command = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constant("schedule"), slot, fc.integer({ min: 0, max: 1_000 })),
    },
    { weight: 2, arbitrary: fc.tuple(fc.constant("cancel"), slot, fc.constant(0)) },
    {
      weight: 6,
      arbitrary: fc.tuple(
        fc.constant("advance"),
        fc.constant(0),
        fc.oneof(
          fc.integer({ min: -5, max: 5 }),
          fc.integer({ min: 0, max: 100 }),
          fc.integer({ min: 0, max: 9_000 }),
          fc.integer({ min: 0, max: 2_000_000_000 }),
        ),
      ),
    },
    { weight: 2, arbitrary: fc.tuple(fc.constant("drain"), fc.constant(0), fc.constant(0)) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("grow"), fc.integer({ min: 1, max: 30 }), fc.constant(0)) },
    {
      weight: 1,
      arbitrary: fc.tuple(fc.constant("reset"), fc.constant(0), fc.integer({ min: 0, max: 5_000 })),
    },
  );
  const longest = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3_000 }));
  const start = fc.integer({ min: 0, max: 100_000 });

  const holds = fc.property(
    longest,
    start,
    fc.array(command, { maxLength: 100 }),
    (longestMs, from, commands) => {
      let now = from;
      let slots = 21;
      const wheel = new ExpiryWheel(longestMs, now, slots);
      const scheduled = new Map<number, number>();
      const expired = () =>
        [...scheduled].flatMap(([s, deadline]) => (deadline <= now ? [s] : [])).sort((a, b) => a - b);
      for (const [what, which, amount] of commands) {
        if (what === "schedule" && !scheduled.has(which)) {
          const deadline = now + Math.round((amount / 1_000) * longestMs);
          wheel.schedule(which, deadline);
          scheduled.set(which, deadline);
        } else if (what === "cancel" && scheduled.delete(which)) {
          wheel.cancel(which);
        } else if (what === "advance") {
          const then = Math.min(now + amount, LATEST);
          wheel.advance(then);
          now = Math.max(now, then);
        } else if (what === "drain") {
          const due = expired();
          expect(drain(wheel)).toEqual(due);
          for (const s of due) scheduled.delete(s);
        } else if (what === "grow") {
          slots += which;
          wheel.grow(slots);
        } else if (what === "reset") {
          now = Math.min(now + amount, LATEST);
          wheel.reset(now);
          scheduled.clear();
        }
        const first = wheel.firstExpired();
        if (first === undefined) expect(expired()).toEqual([]);
        else expect(expired()).toContain(first);
      }
      wheel.advance(now + longestMs);
      expect(drain(wheel)).toEqual([...scheduled.keys()].sort((a, b) => a - b));
    },
  );
  fc.assert(holds, { numRuns: 1_000 });
});
