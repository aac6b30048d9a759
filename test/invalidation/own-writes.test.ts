import { expect, test } from "vitest";
import { OwnWrites } from "../../lib/invalidation/own-writes.ts";

const MOST = 10_000;

/** The number of a write that succeeded and whose message has not been heard. */
function written(writes: OwnWrites): number {
  const sequence = writes.begin();
  writes.end(sequence, true);
  return sequence;
}

test("writes are numbered from 1", () => {
  const writes = new OwnWrites();
  expect([writes.begin(), writes.begin(), writes.begin()]).toEqual([1, 2, 3]);
});

test("the message of a write that succeeded is passed over, once", () => {
  const writes = new OwnWrites();
  const sequence = written(writes);
  expect(writes.heard(sequence)).toBe(true);
  expect(writes.heard(sequence)).toBe(false);
});

test("a message that overtakes its write's reply is passed over, once", () => {
  const writes = new OwnWrites();
  const sequence = writes.begin();
  expect(writes.heard(sequence)).toBe(true);
  writes.end(sequence, true);
  expect(writes.heard(sequence)).toBe(false);
});

test("the message of a write that failed must be obeyed: it was carried out after all", () => {
  const writes = new OwnWrites();
  const sequence = writes.begin();
  writes.end(sequence, false);
  expect(writes.heard(sequence)).toBe(false);
});

test("a write that fails after its message was heard leaves nothing behind", () => {
  const writes = new OwnWrites();
  const sequence = writes.begin();
  writes.heard(sequence);
  writes.end(sequence, false);
  expect(writes.heard(sequence)).toBe(false);
});

test.each([0, -1, 2, Number.NaN])(
  "a message with the number %d, which no write had, must be obeyed",
  (sequence) => {
    const writes = new OwnWrites();
    writes.begin();
    expect(writes.heard(sequence)).toBe(false);
  },
);

test("writes under way together do not disturb each other", () => {
  const writes = new OwnWrites();
  const [first, second, third] = [writes.begin(), writes.begin(), writes.begin()];
  writes.end(third, true);
  writes.end(second, false);
  writes.end(first, true);
  expect([first, second, third].map((sequence) => writes.heard(sequence))).toEqual([true, false, true]);
});

test("after messages were lost, none of an earlier write is passed over", () => {
  const writes = new OwnWrites();
  const ended = written(writes);
  const underWay = writes.begin();
  writes.clear();
  writes.end(underWay, true);
  expect([writes.heard(ended), writes.heard(underWay)]).toEqual([false, false]);
});

test("a write that begins after messages were lost has a number of its own", () => {
  const writes = new OwnWrites();
  const before = written(writes);
  writes.clear();
  const after = written(writes);
  expect(after).not.toBe(before);
  expect(writes.heard(after)).toBe(true);
});

test(`${MOST} writes may wait for their messages; past that the oldest is forgotten`, () => {
  const writes = new OwnWrites();
  const waiting = Array.from({ length: MOST }, () => written(writes));
  const last = written(writes);
  expect(writes.heard(waiting[0] as number)).toBe(false);
  expect(waiting.slice(1).every((sequence) => writes.heard(sequence))).toBe(true);
  expect(writes.heard(last)).toBe(true);
});

test("a write that was forgotten while under way is not remembered when it ends", () => {
  const writes = new OwnWrites();
  const first = writes.begin();
  for (let i = 0; i < MOST; i++) writes.begin();
  writes.end(first, true);
  expect(writes.heard(first)).toBe(false);
});
