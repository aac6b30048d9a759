import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { expect, test } from "vitest";
import { cloneJson } from "../../lib/sessions/clone-json.ts";

/** What `JSON.parse` can give. */
const parsed = fc.jsonValue().map((value): unknown => JSON.parse(JSON.stringify(value)));

/** Every object and array in `value`, itself included. */
function partsOf(value: unknown, parts = new Set<object>()): Set<object> {
  if (value === null || typeof value !== "object") return parts;
  parts.add(value);
  for (const item of Object.values(value)) partsOf(item, parts);
  return parts;
}

test("a copy equals its source", () => {
  fc.assert(fc.property(parsed, (source) => isDeepStrictEqual(cloneJson(source), source)));
});

test("a copy is the same text, its keys in the same order", () => {
  fc.assert(fc.property(parsed, (source) => JSON.stringify(cloneJson(source)) === JSON.stringify(source)));
});

test("a copy shares no object and no array with its source", () => {
  fc.assert(
    fc.property(parsed, (source) => {
      const mine = partsOf(source);
      return [...partsOf(cloneJson(source))].every((part) => !mine.has(part));
    }),
  );
});

test.each([null, true, false, 0, -1.5, "", "text"])("%j is its own copy", (value) => {
  expect(cloneJson(value)).toBe(value);
});

test("an own key __proto__ stays an own key, and its value is copied, too", () => {
  const source = JSON.parse('{"a":{"__proto__":{"isAdmin":true}}}') as { a: object };
  const copy = cloneJson(source);
  expect(Object.getPrototypeOf(copy.a)).toBe(Object.prototype);
  expect("isAdmin" in copy.a).toBe(false);
  expect(JSON.stringify(copy)).toBe(JSON.stringify(source));
  const innerOf = (from: { a: object }) => Object.getOwnPropertyDescriptor(from.a, "__proto__")?.value;
  expect(innerOf(copy)).not.toBe(innerOf(source));
});

test("a copied key __proto__ can be written, listed and deleted like any other", () => {
  const copy = cloneJson(JSON.parse('{"__proto__":1}') as object);
  expect(Object.getOwnPropertyDescriptor(copy, "__proto__")).toEqual({
    configurable: true,
    enumerable: true,
    value: 1,
    writable: true,
  });
});

test("what somebody has added to Object.prototype does not become a session's own", () => {
  Object.assign(Object.prototype, { polluted: {} });
  try {
    const copy = cloneJson({ a: { b: 1 } });
    expect(Object.keys(copy)).toEqual(["a"]);
    expect(Object.keys(copy.a)).toEqual(["b"]);
  } finally {
    Reflect.deleteProperty(Object.prototype, "polluted");
  }
});
