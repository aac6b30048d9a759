import { expect, test } from "vitest";
import { hiddenProperty } from "../../lib/sessions/loaded-state.ts";

test("an object has it once it is set, and the newest value counts", () => {
  const property = hiddenProperty<number>();
  const object = {};
  expect(property.get(object)).toBeUndefined();
  property.set(object, 1);
  property.set(object, 2);
  expect(property.get(object)).toBe(2);
  expect(property.get({})).toBeUndefined();
});

test.each([null, undefined, 5, "text"])("%s has none", (given) => {
  expect(hiddenProperty<number>().get(given)).toBeUndefined();
});

test("nobody else sees it, and copies do not have it", () => {
  const property = hiddenProperty<number>();
  const object = { a: 1 };
  property.set(object, 1);
  expect(Reflect.ownKeys(object)).toEqual(["a"]);
  expect(JSON.stringify(object)).toBe('{"a":1}');
  expect(property.get({ ...object })).toBeUndefined();
  expect(property.get(structuredClone(object))).toBeUndefined();
  expect(property.get(Object.create(object))).toBeUndefined();
});

test("an object has one of each property", () => {
  const [one, other] = [hiddenProperty<number>(), hiddenProperty<number>()];
  const object = {};
  one.set(object, 1);
  expect(other.get(object)).toBeUndefined();
  other.set(object, 2);
  expect([one.get(object), other.get(object)]).toEqual([1, 2]);
});

test.each([
  ["frozen", (object: object) => Object.freeze(object)],
  ["sealed", (object: object) => Object.seal(object)],
  ["not extensible", (object: object) => Object.preventExtensions(object)],
  ["a proxy", (object: object) => new Proxy(object, {})],
  ["a function", () => () => {}],
  ["without a prototype", () => Object.create(null) as object],
])("an object may be %s, before or after it is set", (_, change) => {
  const property = hiddenProperty<number>();
  const before = change({});
  property.set(before, 1);
  property.set(before, 2);
  expect(property.get(before)).toBe(2);
  const object = {};
  property.set(object, 1);
  Object.freeze(object);
  property.set(object, 3);
  expect(property.get(object)).toBe(3);
});
