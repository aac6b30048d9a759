import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { mergeSessions } from "../../lib/sessions/merge.ts";
import { sessionOf } from "../support/node.ts";

const cookie = sessionOf().cookie;
const merge = (base: object, theirs: object, mine: object, ...rest: unknown[]) => {
  const { cookie: _, ...values } = mergeSessions(
    { cookie, ...base },
    { cookie, ...theirs },
    { cookie, ...mine },
    ...(rest as []),
  );
  return values;
};

test("keys that only one side changed, added or deleted are taken from that side", () => {
  expect(merge({ a: 1, b: 1, c: 1, d: 1 }, { a: 2, b: 1, c: 1, e: 3 }, { a: 1, b: 2, d: 1, f: 4 })).toEqual({
    a: 2,
    b: 2,
    e: 3,
    f: 4,
  });
});

test("a key that both changed is the later writer's", () => {
  expect(merge({ a: 1 }, { a: 2 }, { a: 3 })).toEqual({ a: 3 });
  expect(merge({ a: 1 }, { a: 2 }, {})).toEqual({});
  expect(merge({ a: 1 }, {}, { a: 3 })).toEqual({ a: 3 });
});

test("what both changed alike is no conflict", () => {
  const resolve = vi.fn();
  expect(merge({}, { a: { x: 1, y: 2 } }, { a: { y: 2, x: 1 } }, resolve)).toEqual({ a: { x: 1, y: 2 } });
  expect(resolve).not.toHaveBeenCalled();
});

test("resolveConflict is asked about what both changed, and about nothing else", () => {
  const resolve = vi.fn((_key: string, { theirs, mine }: { theirs: unknown; mine: unknown }) => {
    return [...(theirs as number[]), ...(mine as number[])];
  });
  const merged = merge({ list: [0], a: 1 }, { list: [1], a: 2 }, { list: [2], a: 1, b: 1 }, resolve);
  expect(merged).toEqual({ list: [1, 2], a: 2, b: 1 });
  expect(resolve.mock.calls).toEqual([["list", { base: [0], theirs: [1], mine: [2] }]]);
});

test("undefined from resolveConflict deletes the key", () => {
  expect(merge({ a: 1 }, { a: 2 }, { a: 3 }, () => undefined)).toEqual({});
});

test("an asynchronous resolveConflict is a TypeError: its promise would be written as an empty object", () => {
  for (const resolve of [async () => 4, async () => Promise.reject(new Error("no"))]) {
    expect(() => merge({ a: 1 }, { a: 2 }, { a: 3 }, resolve)).toThrow(
      new TypeError("resolveConflict: the function must return a value, got an object (Promise)"),
    );
  }
});

test("the cookie is the later writer's", () => {
  const [base, theirs, mine] = [sessionOf({}, 1_000), sessionOf({}, 2_000), sessionOf({}, 3_000)];
  const resolve = vi.fn();
  expect(mergeSessions(base, theirs, mine, resolve).cookie).toEqual(mine.cookie);
  expect(resolve).not.toHaveBeenCalled();
});

test("a maxAge that the other request has set stays, though express-session has lost a millisecond of this one's", () => {
  const [base, theirs, mine] = [sessionOf({}, 60_000), sessionOf({}, 3_600_000), sessionOf({ v: 1 }, 59_999)];
  const merged = mergeSessions(base, theirs, mine);
  expect(merged).toMatchObject({ v: 1, cookie: { originalMaxAge: 3_600_000 } });
  expect(new Date(merged.cookie.expires as Date).getTime()).toBeGreaterThan(Date.now() + 1_800_000);
});

test("a key called __proto__ is a key like any other", () => {
  const parse = (text: string) => JSON.parse(text) as object;
  const merged = merge({}, parse('{"__proto__":{"a":1}}'), { b: 1 });
  expect(Object.keys(merged).sort()).toEqual(["__proto__", "b"]);
  expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
});

const session = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom(1, 2, 3));

test("whoever changed nothing loses nothing: the other side's session stands", () => {
  fc.assert(
    fc.property(session, session, (base, other) => {
      expect(merge(base, other, base)).toEqual(other);
      expect(merge(base, base, other)).toEqual(other);
    }),
  );
});

test("every change of either side is in the result, unless the other side changed the same key", () => {
  fc.assert(
    fc.property(session, session, session, (base, theirs, mine) => {
      const merged: Record<string, unknown> = merge(base, theirs, mine);
      for (const key of ["a", "b", "c"]) {
        const [was, there, here] = [base[key], theirs[key], mine[key]];
        expect(merged[key]).toBe(here === was ? there : here);
      }
    }),
  );
});
