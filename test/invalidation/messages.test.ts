import fc from "fast-check";
import { expect, test } from "vitest";
import {
  decodeInvalidation,
  decodeMessage,
  encodeInvalidation,
  encodeMessage,
  MAX_MESSAGE_LENGTH,
  type SharedMessage,
  splitAtSids,
} from "../../lib/invalidation/messages.ts";
import { isLabel } from "../../lib/reporting/text.ts";

const base = { instanceId: "i-1", sequence: 7, nodeId: "web-1", prefix: "sess:", sentAt: 1_700_000_000_000 };
const deleted: SharedMessage = { type: "SessionDeleted", ...base, sids: ["a", "b"], reason: "destroy" };

/** What `encodeMessage` makes of `deleted`, to be spoilt. */
const wire = { version: 2, ...deleted };

const label = fc.string({ unit: "grapheme", maxLength: 20 }).filter(isLabel);
const baseOf = {
  instanceId: label,
  sequence: fc.maxSafeInteger(),
  nodeId: label,
  prefix: fc.string({ unit: "binary" }),
  sentAt: fc.maxSafeNat(),
};
const withSids = { ...baseOf, sids: fc.array(fc.string({ unit: "binary", minLength: 1 })) };
const message: fc.Arbitrary<SharedMessage> = fc.oneof(
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

test.each<[SharedMessage, string]>([
  [
    { type: "SessionDeleted", ...base, sids: ["a"], reason: "destroy" },
    `{"version":2,"type":"SessionDeleted",${TAIL},"sids":["a"],"reason":"destroy"}`,
  ],
  [{ type: "CacheClear", ...base }, `{"version":2,"type":"CacheClear",${TAIL}}`],
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
  const deletions = fc.record(
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
    fc.property(deletions, sids, (value, ids) => {
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
  const text = encodeMessage(deleted);
  for (let length = 0; length < text.length; length++) {
    expect(decodeMessage(text.slice(0, length))).toBeUndefined();
  }
});

test.each(Object.keys(wire))("a message without %s is none", (field) => {
  expect(decodeMessage(JSON.stringify({ ...wire, [field]: undefined }))).toBeUndefined();
});

test.each([
  ["version", [0, 1, 3, "2", null, [2]]],
  ["type", ["", "sessiondeleted", "SessionInvalidated", "toString", 1, null, ["CacheClear"]]],
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
    expect(decodeMessage(JSON.stringify({ ...wire, reason }))).toBeUndefined();
  },
);

test("a thousand ids of the greatest length are read, and labels of the greatest length", () => {
  const sids = Array.from({ length: 1_000 }, () => "x".repeat(1_024));
  const longest = { ...deleted, nodeId: "n".repeat(256), sids } as SharedMessage;
  expect(decodeMessage(encodeMessage(longest))).toEqual(longest);
});

test("fields that this version does not know are dropped", () => {
  const text = JSON.stringify({ ...wire, urgency: "high", toString: 1 });
  expect(decodeMessage(text)).toEqual(deleted);
});

test("a CacheClear names no sessions, whatever was sent with it", () => {
  const text = JSON.stringify({ ...wire, type: "CacheClear" });
  expect(decodeMessage(text)).toEqual({ type: "CacheClear", ...base });
});

test("a text of the greatest length is read, a longer one is not looked at", () => {
  const text = encodeMessage(deleted);
  const longest = text + " ".repeat(MAX_MESSAGE_LENGTH - text.length);
  expect(decodeMessage(longest)).toEqual(deleted);
  expect(decodeMessage(`${longest} `)).toBeUndefined();
});

const invalidation = { instanceId: "6f0a3c1e-5a0e", sequence: 7, nodeId: "web 1" };

test("the text on a session's channel stays what other versions of this package read, and names no session", () => {
  const text = encodeInvalidation(invalidation);
  expect(text).toBe("2 6f0a3c1e-5a0e 7 web 1");
  expect(decodeInvalidation(text)).toEqual({ type: "SessionInvalidated", ...invalidation });
});

test("every invalidation comes back from its text as it was", () => {
  const nodeIds = fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }).filter(isLabel);
  fc.assert(
    fc.property(fc.uuid(), fc.maxSafeNat(), nodeIds, (instanceId, sequence, nodeId) => {
      const text = encodeInvalidation({ instanceId, sequence, nodeId });
      expect(decodeInvalidation(text)).toMatchObject({ instanceId, sequence, nodeId });
    }),
  );
});

test("any text is an invalidation or undefined, never an exception", () => {
  const texts = fc.oneof(fc.string({ unit: "binary" }), fc.stringMatching(/^2 .* .* .*$/));
  fc.assert(fc.property(texts, (text) => (decodeInvalidation(text)?.nodeId ?? "a") !== ""));
});

test.each([
  "",
  "2",
  "1 a 7 web",
  "3 a 7 web",
  "2 a 7",
  "2 a 7 ",
  "2  7 web",
  "2 a -7 web",
  "2 a 1.5 web",
  `2 a ${2 ** 53} web`,
  `2 ${"a".repeat(65)} 7 web`,
  `2 a 7 ${"n".repeat(257)}`,
  "2 a 7 web\n",
  "2 a 7 a\u001b[2J",
  "2 a 7 \ud800",
])("%j is no invalidation", (text) => {
  expect(decodeInvalidation(text)).toBeUndefined();
});
