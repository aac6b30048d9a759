import fc from "fast-check";
import { expect, test } from "vitest";
import { END, SlotList } from "../../lib/cache/slot-list.ts";

/** Removes every slot, from the front. */
function drain(list: SlotList): number[] {
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
    expect(drain(list)).toEqual([1, 2, capacity - 1]);
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
    expect(drain(list)).toEqual(order);
  });
  fc.assert(holds, { numRuns: 1_000 });
});
