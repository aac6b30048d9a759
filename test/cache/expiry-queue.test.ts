import fc from "fast-check";
import { expect, test } from "vitest";
import { ExpiryQueue } from "../../lib/cache/expiry-queue.ts";
import { END } from "../../lib/cache/slot-list.ts";

/** A queue with room for slots below `capacity`. */
function queueOf(capacity: number, maxCapacity: number = capacity): ExpiryQueue {
  const queue = new ExpiryQueue(maxCapacity);
  queue.grow(capacity);
  return queue;
}

/** Removes every slot that has expired by `now`. */
function drain(queue: ExpiryQueue, now: number): number[] {
  const drained: number[] = [];
  for (let slot = queue.findExpired(now); slot !== END; slot = queue.findExpired(now)) {
    queue.cancel(slot);
    drained.push(slot);
    if (drained.length > 10_000) throw new Error("the expired slots have no end");
  }
  return drained.sort((a, b) => a - b);
}

test("a slot has expired at its deadline and not a millisecond before", () => {
  const queue = queueOf(4);
  queue.schedule(1, 5_700);
  expect(queue.deadlineOf(1)).toBe(5_700);
  expect(queue.findExpired(5_699)).toBe(END);
  expect(queue.findExpired(5_700)).toBe(1);
});

test("a fraction of a millisecond before its deadline, a slot has not expired", () => {
  const queue = queueOf(4);
  queue.schedule(1, 5_700);
  expect(queue.findExpired(5_699.9)).toBe(END);
});

test("an expired slot stays until it is cancelled", () => {
  const queue = queueOf(4);
  queue.schedule(1, 10);
  expect([queue.findExpired(10), queue.findExpired(10)]).toEqual([1, 1]);
  queue.cancel(1);
  expect(queue.findExpired(10)).toBe(END);
});

test("a cancelled slot never expires", () => {
  const queue = queueOf(4);
  queue.schedule(2, 900);
  queue.schedule(1, 10);
  queue.cancel(1);
  queue.cancel(2);
  expect(queue.findExpired(2_000)).toBe(END);
});

test("deadline 0 and the latest deadline are deadlines like others", () => {
  const queue = queueOf(4);
  queue.schedule(1, 2 ** 32 - 1);
  queue.schedule(2, 0);
  expect(drain(queue, 0)).toEqual([2]);
  expect(queue.findExpired(2 ** 32 - 2)).toBe(END);
  expect(drain(queue, 2 ** 32 - 1)).toEqual([1]);
});

test("a slot that is scheduled later and expires earlier is found first", () => {
  const queue = queueOf(5);
  queue.schedule(1, 1_000);
  queue.schedule(2, 510);
  queue.schedule(3, 1_000);
  queue.schedule(4, 400);
  expect(queue.findExpired(399)).toBe(END);
  expect(drain(queue, 400)).toEqual([4]);
  expect(drain(queue, 509)).toEqual([]);
  expect(drain(queue, 510)).toEqual([2]);
  expect(drain(queue, 999)).toEqual([]);
  expect(drain(queue, 1_000)).toEqual([1, 3]);
});

test.each([1_000, 1_001, 5_000, 1_000_000_000])("a jump of %i ms expires all that was scheduled", (jump) => {
  const queue = queueOf(1_001);
  for (let slot = 1; slot <= 1_000; slot++) queue.schedule(slot, slot);
  expect(drain(queue, jump)).toHaveLength(1_000);
});

const orders: [string, (i: number) => number][] = [
  ["ascending", (i) => i],
  ["descending", (i) => 1_001 - i],
  ["mixed", (i) => (i * 387) % 1_001],
];
test.each(orders)("every millisecond expires its own slots and no others, in %s order", (_, deadlineOf) => {
  const queue = queueOf(1_001);
  const slotAt = new Map<number, number>();
  for (let slot = 1; slot <= 1_000; slot++) {
    queue.schedule(slot, deadlineOf(slot));
    slotAt.set(deadlineOf(slot), slot);
  }
  for (let time = 1; time <= 1_000; time++) expect(drain(queue, time)).toEqual([slotAt.get(time)]);
});

test("growing keeps what is scheduled, and when", () => {
  const queue = queueOf(4, 100);
  queue.schedule(2, 900);
  queue.schedule(1, 10);
  queue.grow(100);
  queue.schedule(99, 900);
  expect(drain(queue, 10)).toEqual([1]);
  expect(queue.findExpired(899)).toBe(END);
  expect(drain(queue, 900)).toEqual([2, 99]);
});

test("more slots than 16 bits can number are scheduled, cancelled and found", () => {
  const count = 2 ** 16 + 10;
  const queue = queueOf(count + 1);
  queue.schedule(1, count);
  for (let slot = 2; slot <= count; slot++) queue.schedule(slot, slot % 2 === 0 ? count : slot);
  for (let slot = 3; slot <= count - 2; slot++) queue.cancel(slot);
  expect(queue.findExpired(count - 2)).toBe(END);
  expect(drain(queue, count)).toEqual([1, 2, count - 1, count]);
});

test("clear removes what is scheduled and what has expired", () => {
  const queue = queueOf(4);
  queue.schedule(2, 500);
  queue.schedule(1, 10);
  expect(queue.findExpired(10)).toBe(1);
  queue.clear();
  expect(queue.findExpired(2_000)).toBe(END);
  queue.schedule(1, 1);
  expect(queue.findExpired(0)).toBe(END);
  expect(queue.findExpired(1)).toBe(1);
});

test("whatever is scheduled and cancelled in whatever order, exactly the expired are found", () => {
  const MAX_DEADLINE = 2 ** 32 - 1;
  const slot = fc.integer({ min: 1, max: 20 });
  const none = fc.constant(0);
  const command = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constant("schedule"), slot, fc.integer({ min: 0, max: 1_000 })),
    },
    { weight: 3, arbitrary: fc.tuple(fc.constant("schedule"), slot, fc.constant(1_000)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("cancel"), slot, none) },
    {
      weight: 6,
      arbitrary: fc.tuple(
        fc.constant("advance"),
        none,
        fc.oneof(
          fc.integer({ min: -5, max: 5 }),
          fc.integer({ min: 0, max: 100 }),
          fc.integer({ min: 0, max: 9_000 }),
          fc.integer({ min: 0, max: 2_000_000_000 }),
        ),
      ),
    },
    { weight: 2, arbitrary: fc.tuple(fc.constant("drain"), none, none) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("grow"), fc.integer({ min: 1, max: 30 }), none) },
    { weight: 1, arbitrary: fc.tuple(fc.constant("clear"), none, none) },
  );
  const longest = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 3_000 }));
  const start = fc.integer({ min: 0, max: 100_000 });

  const holds = fc.property(
    longest,
    start,
    fc.array(command, { maxLength: 100 }),
    (longestMs, from, commands) => {
      let now = from;
      let capacity = 21;
      const queue = queueOf(capacity, 4_000);
      const scheduled = new Map<number, number>();
      const expired = () =>
        [...scheduled].flatMap(([s, deadline]) => (deadline <= now ? [s] : [])).sort((a, b) => a - b);
      for (const [what, which, amount] of commands) {
        if (what === "schedule" && !scheduled.has(which)) {
          const deadline = Math.min(now + Math.round((amount / 1_000) * longestMs), MAX_DEADLINE);
          queue.schedule(which, deadline);
          scheduled.set(which, deadline);
        } else if (what === "cancel" && scheduled.delete(which)) {
          queue.cancel(which);
        } else if (what === "advance") {
          now = Math.min(Math.max(now + amount, 0), MAX_DEADLINE);
        } else if (what === "drain") {
          const due = expired();
          expect(drain(queue, now)).toEqual(due);
          for (const s of due) scheduled.delete(s);
        } else if (what === "grow") {
          capacity += which;
          queue.grow(capacity);
        } else if (what === "clear") {
          queue.clear();
          scheduled.clear();
        }
        for (const [s, deadline] of scheduled) expect(queue.deadlineOf(s)).toBe(deadline);
        const found = queue.findExpired(now);
        if (found === END) expect(expired()).toEqual([]);
        else expect(expired()).toContain(found);
      }
      expect(drain(queue, MAX_DEADLINE)).toEqual([...scheduled.keys()].sort((a, b) => a - b));
    },
  );
  fc.assert(holds, { numRuns: 1_000 });
});
