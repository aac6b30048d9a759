import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type ClusterMessage,
  decodeMessage,
  encodeMessage,
  MAX_MESSAGE_LENGTH,
  splitAtSids,
} from "../../lib/invalidation/messages.ts";
import { isPrintable } from "../../lib/reporting/text.ts";

const base = { instanceId: "i-1", sequence: 7, nodeId: "web-1", prefix: "sess:", sentAt: 1_700_000_000_000 };
const invalidated: ClusterMessage = { type: "SessionInvalidated", ...base, sids: ["a", "b"] };

/** What `encodeMessage` makes of `invalidated`, to be spoilt. */
const wire = { version: 1, ...invalidated };

const label = fc.string({ unit: "grapheme", maxLength: 20 }).filter(isPrintable);
const baseOf = {
  instanceId: label,
  sequence: fc.maxSafeInteger(),
  nodeId: label,
  prefix: fc.string({ unit: "binary" }),
  sentAt: fc.maxSafeNat(),
};
const withSids = { ...baseOf, sids: fc.array(fc.string({ unit: "binary", minLength: 1 })) };
const message: fc.Arbitrary<ClusterMessage> = fc.oneof(
  fc.record({ type: fc.constant("SessionInvalidated" as const), ...withSids }, { noNullPrototype: true }),
  fc.record(
    {
      type: fc.constant("SessionDeleted" as const),
      ...withSids,
      reason: fc.constantFrom("destroy", "destroyWhere", "destroyAllOf", "clear"),
    } as const,
    { noNullPrototype: true },
  ),
  fc.record({ type: fc.constant("CacheClear" as const), ...baseOf }, { noNullPrototype: true }),
);

const TAIL = '"instanceId":"i-1","sequence":7,"nodeId":"web-1","prefix":"sess:","sentAt":1700000000000';

test.each<[ClusterMessage, string]>([
  [invalidated, `{"version":1,"type":"SessionInvalidated",${TAIL},"sids":["a","b"]}`],
  [
    { type: "SessionDeleted", ...base, sids: ["a"], reason: "destroy" },
    `{"version":1,"type":"SessionDeleted",${TAIL},"sids":["a"],"reason":"destroy"}`,
  ],
  [{ type: "CacheClear", ...base }, `{"version":1,"type":"CacheClear",${TAIL}}`],
])("the text of $type stays what other versions of this package read", (value, text) => {
  expect(encodeMessage(value)).toBe(text);
  expect(decodeMessage(text)).toEqual(value);
});

test("every message is decoded as it was encoded", () => {
  fc.assert(
    fc.property(message, (value) => {
      expect(decodeMessage(encodeMessage(value))).toEqual(value);
    }),
  );
});

test("ids that are inserted into the text of a message without ids arrive", () => {
  const { sids, ...rest } = withSids;
  const deleted = fc.record(
    {
      type: fc.constant("SessionDeleted" as const),
      ...rest,
      reason: fc.constantFrom("destroyWhere" as const, "destroyAllOf" as const),
    },
    { noNullPrototype: true },
  );
  const tricky = {
    type: "SessionDeleted",
    ...base,
    nodeId: '"sids":[],',
    prefix: "sids",
    reason: "destroyWhere",
  } as const;
  fc.assert(
    fc.property(deleted, sids, (value, ids) => {
      const { head, tail } = splitAtSids(encodeMessage({ ...value, sids: [] }));
      const text = head + ids.map((sid) => JSON.stringify(sid)).join(",") + tail;
      expect(decodeMessage(text)).toEqual({ ...value, sids: ids });
    }),
    { examples: [[tricky, ["a", "b"]]] },
  );
});

test("any text is a message or undefined, never an exception", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => decodeMessage(text) === undefined));
});

test("any JSON is a message or undefined, never an exception", () => {
  fc.assert(fc.property(fc.json(), (text) => decodeMessage(text) === undefined));
});

test("a message whose text was cut is none", () => {
  const text = encodeMessage(invalidated);
  for (let length = 0; length < text.length; length++) {
    expect(decodeMessage(text.slice(0, length))).toBeUndefined();
  }
});

test.each(Object.keys(wire))("a message without %s is none", (field) => {
  expect(decodeMessage(JSON.stringify({ ...wire, [field]: undefined }))).toBeUndefined();
});

test.each([
  ["version", [0, 2, "1", null, [1]]],
  ["type", ["", "sessioninvalidated", "toString", 1, null, ["CacheClear"]]],
  ["instanceId", [1, null, {}, ["i-1"]]],
  ["sequence", [1.5, "7", null, 2 ** 53, [7], true]],
  ["nodeId", [1, null, {}, true]],
  ["prefix", [1, null, {}, true]],
  ["sentAt", ["1700000000000", null, {}, true]],
  ["instanceId", ["x".repeat(257), "a\nb", "\u001b[2J", "\ud800"]],
  ["nodeId", ["x".repeat(257), "a\nb", "\u001b[2J", "a\u2028b", "\ud800"]],
  ["sids", [Array.from({ length: 1_001 }, () => "a"), [""], ["x".repeat(1_025)], ["a\ud800"]]],
  ["sids", ["a", null, {}, { length: 1, 0: "a" }, 1, ["a", 1], [null], [["a"]]]],
] satisfies [string, unknown[]][])("a message with a wrong %s is none", (field, values) => {
  for (const value of values) {
    const text = JSON.stringify({ ...wire, [field]: value });
    expect(decodeMessage(text), text).toBeUndefined();
  }
});

test.each(["", "expired", "toString", "destroy ", 1, null])(
  "a deletion for the reason %j is none",
  (reason) => {
    const deleted = { ...wire, type: "SessionDeleted", reason };
    expect(decodeMessage(JSON.stringify(deleted))).toBeUndefined();
  },
);

test("a thousand ids of the greatest length are read, and labels of the greatest length", () => {
  const sids = Array.from({ length: 1_000 }, () => "x".repeat(1_024));
  const longest = { ...invalidated, nodeId: "n".repeat(256), sids } as ClusterMessage;
  expect(decodeMessage(encodeMessage(longest))).toEqual(longest);
});

test("fields that this version does not know are dropped", () => {
  const text = JSON.stringify({ ...wire, urgency: "high", toString: 1 });
  expect(decodeMessage(text)).toEqual(invalidated);
});

test("a CacheClear names no sessions, whatever was sent with it", () => {
  const text = JSON.stringify({ ...wire, type: "CacheClear" });
  expect(decodeMessage(text)).toEqual({ type: "CacheClear", ...base });
});

test("a text of the greatest length is read, a longer one is not looked at", () => {
  const text = encodeMessage(invalidated);
  const longest = text + " ".repeat(MAX_MESSAGE_LENGTH - text.length);
  expect(decodeMessage(longest)).toEqual(invalidated);
  expect(decodeMessage(`${longest} `)).toBeUndefined();
});
