import fc from "fast-check";
import { expect, test } from "vitest";
import { END, EvictionOrder, SlotList } from "../../lib/cache/eviction-order.ts";

/** An order with room for slots below `capacity`. */
function orderOf(capacity: number, maxCapacity: number = capacity): EvictionOrder {
  const order = new EvictionOrder(maxCapacity);
  order.grow(capacity);
  return order;
}

/** Removes every slot that has expired by `now`. */
function drain(order: EvictionOrder, now: number): number[] {
  const drained: number[] = [];
  for (let slot = order.findExpired(now); slot !== END; slot = order.findExpired(now)) {
    order.remove(slot);
    drained.push(slot);
    if (drained.length > 10_000) throw new Error("the expired slots have no end");
  }
  return drained.sort((a, b) => a - b);
}

test("a slot has expired at its deadline and not a millisecond before", () => {
  const order = orderOf(4);
  order.add(1, 5_700);
  expect(order.expiryOf(1)).toBe(5_700);
  expect(order.findExpired(5_699)).toBe(END);
  expect(order.findExpired(5_700)).toBe(1);
});

test("a fraction of a millisecond before its deadline, a slot has not expired", () => {
  const order = orderOf(4);
  order.add(1, 5_700);
  expect(order.findExpired(5_699.9)).toBe(END);
});

test("an expired slot stays until it is removed", () => {
  const order = orderOf(4);
  order.add(1, 10);
  expect([order.findExpired(10), order.findExpired(10)]).toEqual([1, 1]);
  order.remove(1);
  expect(order.findExpired(10)).toBe(END);
});

test("a removed slot never expires", () => {
  const order = orderOf(4);
  order.add(2, 900);
  order.add(1, 10);
  order.remove(1);
  order.remove(2);
  expect(order.findExpired(2_000)).toBe(END);
});

test("deadline 0 and the latest deadline are deadlines like others", () => {
  const order = orderOf(4);
  order.add(1, 2 ** 32 - 1);
  order.add(2, 0);
  expect(drain(order, 0)).toEqual([2]);
  expect(order.findExpired(2 ** 32 - 2)).toBe(END);
  expect(drain(order, 2 ** 32 - 1)).toEqual([1]);
});

test("a slot that is added later and expires earlier is found first", () => {
  const order = orderOf(5);
  order.add(1, 1_000);
  order.add(2, 510);
  order.add(3, 1_000);
  order.add(4, 400);
  expect(order.findExpired(399)).toBe(END);
  expect(drain(order, 400)).toEqual([4]);
  expect(drain(order, 509)).toEqual([]);
  expect(drain(order, 510)).toEqual([2]);
  expect(drain(order, 999)).toEqual([]);
  expect(drain(order, 1_000)).toEqual([1, 3]);
});

test.each([1_000, 1_001, 5_000, 1_000_000_000])("a jump of %i ms expires all that was added", (jump) => {
  const order = orderOf(1_001);
  for (let slot = 1; slot <= 1_000; slot++) order.add(slot, slot);
  expect(drain(order, jump)).toHaveLength(1_000);
});

const sequences: [string, (i: number) => number][] = [
  ["ascending", (i) => i],
  ["descending", (i) => 1_001 - i],
  ["mixed", (i) => (i * 387) % 1_001],
];
test.each(sequences)(
  "every millisecond expires its own slots and no others, in %s order",
  (_, deadlineOf) => {
    const order = orderOf(1_001);
    const slotAt = new Map<number, number>();
    for (let slot = 1; slot <= 1_000; slot++) {
      order.add(slot, deadlineOf(slot));
      slotAt.set(deadlineOf(slot), slot);
    }
    for (let time = 1; time <= 1_000; time++) expect(drain(order, time)).toEqual([slotAt.get(time)]);
  },
);

test("growing keeps what was added, and when it expires", () => {
  const order = orderOf(4, 100);
  order.add(2, 900);
  order.add(1, 10);
  order.grow(100);
  order.add(99, 900);
  expect(drain(order, 10)).toEqual([1]);
  expect(order.findExpired(899)).toBe(END);
  expect(drain(order, 900)).toEqual([2, 99]);
});

test("more slots than 16 bits can number are added, removed and found", () => {
  const count = 2 ** 16 + 10;
  const order = orderOf(count + 1);
  order.add(1, count);
  for (let slot = 2; slot <= count; slot++) order.add(slot, slot % 2 === 0 ? count : slot);
  for (let slot = 3; slot <= count - 2; slot++) order.remove(slot);
  expect(order.findExpired(count - 2)).toBe(END);
  expect(drain(order, count)).toEqual([1, 2, count - 1, count]);
});

test("clear removes what was added and what has expired", () => {
  const order = orderOf(4);
  order.add(2, 500);
  order.add(1, 10);
  expect(order.findExpired(10)).toBe(1);
  order.clear();
  expect(order.findExpired(2_000)).toBe(END);
  order.add(1, 1);
  expect(order.findExpired(0)).toBe(END);
  expect(order.findExpired(1)).toBe(1);
});

test("whatever is done in whatever order, exactly the expired are found, and the least recently used", () => {
  const MAX_DEADLINE = 2 ** 32 - 1;
  const slot = fc.integer({ min: 1, max: 20 });
  const none = fc.constant(0);
  const command = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constant("add"), slot, fc.integer({ min: 0, max: 1_000 })),
    },
    { weight: 3, arbitrary: fc.tuple(fc.constant("add"), slot, fc.constant(1_000)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("remove"), slot, none) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("use"), slot, none) },
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
      const order = orderOf(capacity, 4_000);
      /** The least recently used first. */
      const added = new Map<number, number>();
      const expired = () =>
        [...added].flatMap(([s, deadline]) => (deadline <= now ? [s] : [])).sort((a, b) => a - b);
      for (const [what, which, amount] of commands) {
        const deadline = Math.min(now + Math.round((amount / 1_000) * longestMs), MAX_DEADLINE);
        const current = added.get(which);
        if (what === "add" && current === undefined) {
          order.add(which, deadline);
          added.set(which, deadline);
        } else if (what === "use" && current !== undefined) {
          order.use(which);
          added.delete(which);
          added.set(which, current);
        } else if (what === "remove" && added.delete(which)) {
          order.remove(which);
        } else if (what === "advance") {
          now = Math.min(Math.max(now + amount, 0), MAX_DEADLINE);
        } else if (what === "drain") {
          const due = expired();
          expect(drain(order, now)).toEqual(due);
          for (const s of due) added.delete(s);
        } else if (what === "grow") {
          capacity += which;
          order.grow(capacity);
        } else if (what === "clear") {
          order.clear();
          added.clear();
        }
        for (const [s, deadline] of added) expect(order.expiryOf(s)).toBe(deadline);
        expect(order.leastRecentlyUsed).toBe([...added.keys()][0] ?? END);
        const found = order.findExpired(now);
        if (found === END) expect(expired()).toEqual([]);
        else expect(expired()).toContain(found);
      }
      expect(drain(order, MAX_DEADLINE)).toEqual([...added.keys()].sort((a, b) => a - b));
    },
  );
  fc.assert(holds, { numRuns: 1_000 });
});

/** Removes every slot, from the front. */
function drainList(list: SlotList): number[] {
  const drained: number[] = [];
  for (let slot = list.first; slot !== END; slot = list.first) {
    list.remove(slot);
    drained.push(slot);
    if (drained.length > 1_000) throw new Error("the list has no end");
  }
  return drained;
}

test("an empty list has no first and no last slot", () => {
  const list = new SlotList(4);
  expect([list.first, list.last]).toEqual([END, END]);
});

test.each([65_536, 65_537])(
  "with a maximum capacity of %i, the last slot that fits is linked like others",
  (capacity) => {
    const list = new SlotList(capacity);
    list.grow(capacity);
    for (const slot of [capacity - 1, 1, 2]) list.append(slot);
    list.moveToEnd(capacity - 1);
    expect([list.first, list.last]).toEqual([1, capacity - 1]);
    expect(drainList(list)).toEqual([1, 2, capacity - 1]);
  },
);

test("whatever is done in whatever order, the slots stand in the order of appending, and values set aside stay", () => {
  const command = fc.tuple(
    fc.constantFrom(
      "append",
      "append",
      "append",
      "remove",
      "moveToEnd",
      "moveToEnd",
      "setAside",
      "clear",
      "grow",
    ),
    fc.integer({ min: 1, max: 9 }),
  );
  const holds = fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
    let capacity = 10;
    const list = new SlotList(1_000);
    list.grow(capacity);
    let order: number[] = [];
    let aside = new Map<number, number>();
    for (const [what, slot] of commands) {
      const isListed = order.includes(slot);
      if (what === "append" && !isListed) {
        list.append(slot);
        order.push(slot);
        aside.delete(slot);
      } else if (what === "remove" && isListed) {
        list.remove(slot);
        order = order.filter((other) => other !== slot);
      } else if (what === "moveToEnd" && isListed) {
        list.moveToEnd(slot);
        order = [...order.filter((other) => other !== slot), slot];
      } else if (what === "setAside" && !isListed) {
        list.setAside(slot, capacity - slot);
        aside.set(slot, capacity - slot);
      } else if (what === "clear") {
        list.clear();
        order = [];
        aside = new Map();
      } else if (what === "grow") {
        capacity += 3;
        list.grow(capacity);
      }
      expect([list.first, list.last]).toEqual([order[0] ?? END, order.at(-1) ?? END]);
      for (const other of order) expect(list.valueAside(other)).toBeUndefined();
      for (const [other, value] of aside) expect(list.valueAside(other)).toBe(value);
    }
    expect(drainList(list)).toEqual(order);
  });
  fc.assert(holds, { numRuns: 1_000 });
});
