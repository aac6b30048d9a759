import { expect, test } from "vitest";
import { checkReads } from "./check-reads.ts";
import { checkWrites } from "./check-writes.ts";
import { buildHistories } from "./histories.ts";
import type { OperationRecord } from "./protocol.ts";
import type { RedisEvent } from "./redis-record.ts";
import { Lineage, type Recorded } from "./topology/lineage.ts";
import type { Guarantee } from "./violation.ts";

const SID = "hot-0";
const BOUND_MS = 1_000;

/** What the judge says of one session. */
function judge(operations: readonly OperationRecord[], events: readonly RedisEvent[]): Guarantee[] {
  const histories = buildHistories([SID], operations, events);
  const history = histories.sessions.get(SID);
  if (history === undefined) throw new Error("no history");
  const found: Guarantee[] = [];
  const report = ({ guarantee }: { guarantee: Guarantee }) => found.push(guarantee);
  const limits = { boundMs: BOUND_MS, silentBoundMs: 2, staleBoundMs: 0 * BOUND_MS };
  checkReads(history, histories, limits, new Map(), report);
  checkWrites(history, histories, { merge: false, boundMs: BOUND_MS }, report);
  return found;
}

const text = (version: number, stamp: string) => JSON.stringify({ v: version, cookie: { expires: stamp } });

const call = (
  kind: OperationRecord["kind"],
  [invokedAt, answeredAt]: [number, number],
  more: Partial<OperationRecord>,
): OperationRecord => ({ node: 0, kind, sid: SID, invokedAt, answeredAt, ...more });

const set = (at: number, version: number, stamp: string, node = 0): RedisEvent => ({
  ...{ kind: "set", sid: SID, text: text(version, stamp), node, at },
});

test("a save that restores a version, by a process that was killed before it could report it, is not that version's write", () => {
  const operations = [
    call("set", [10, 12], { version: 1, stamp: "a" }),
    call("get", [20, 21], { result: 1 }),
    call("set", [30, 32], { version: 2, stamp: "b" }),
  ];
  const events = [set(11, 1, "a"), set(31, 2, "b"), set(41, 3, "of the killed one"), set(42, 1, "restored")];
  expect(judge(operations, events)).toEqual([]);
});

test("a write that is carried out twice is reported", () => {
  const operations = [
    call("set", [10, 40], { version: 1, stamp: "a" }),
    call("set", [20, 22], { version: 2, stamp: "b", node: 1 }),
  ];
  expect(judge(operations, [set(11, 1, "a"), set(21, 2, "b", 1), set(31, 1, "a")])).toEqual(["once"]);
});

test("two saves of a node that restore the same version are two writes", () => {
  const restore = { version: 1, isRestore: true };
  const operations = [
    call("set", [10, 12], { version: 1, stamp: "a" }),
    call("save", [20, 22], { ...restore, stamp: "b" }),
    call("save", [30, 32], { ...restore, stamp: "c" }),
  ];
  expect(judge(operations, [set(11, 1, "a"), set(21, 1, "b"), set(31, 1, "c")])).toEqual([]);
});

test("what a server was found to hold, when nobody had listened to it, is no second execution, and moves no write", () => {
  const operations = [
    call("set", [10, 12], { version: 1, stamp: "a" }),
    call("set", [20, 22], { version: 2, stamp: "b", node: 1 }),
    call("get", [30, 31], { result: 2 }),
  ];
  const found = { ...set(50, 1, "a"), node: undefined };
  expect(judge(operations, [set(11, 1, "a"), set(21, 2, "b", 1), found])).toEqual([]);
});

const OLD = 1;
const NEW = 2;

/** Version 1 is written and replicated; the other server takes over, where version 2 is written; node 0 still asks the old one. */
function failover(reads: readonly Recorded[]): RedisEvent[] {
  const record = (kind: Recorded["kind"], port: number, at: number, more: Partial<Recorded>): Recorded => ({
    ...{ kind, port, sid: SID, at },
    ...more,
  });
  const records = [
    record("role", OLD, 1, { sid: "", primaryPort: undefined }),
    record("role", NEW, 1, { sid: "", primaryPort: OLD }),
    record("set", OLD, 11, { text: text(1, "a"), node: 0 }),
    record("set", NEW, 12, { text: text(1, "a"), isReplicated: true }),
    record("role", NEW, 100, { sid: "", primaryPort: undefined, notBefore: 90 }),
    record("set", NEW, 111, { text: text(2, "b"), node: 1 }),
    ...reads,
  ];
  return new Lineage().replay(records, [SID]);
}

const writes = [
  call("set", [10, 13], { version: 1, stamp: "a" }),
  call("set", [110, 112], { version: 2, stamp: "b", node: 1 }),
];
const late = (more: Partial<OperationRecord>) => call("get", [3_000, 3_002], { result: 1, ...more });
const readOn = (port: number): Recorded => ({ kind: "read", port, sid: SID, at: 3_001, node: 0 });

test("what a replaced primary answers is not held against the store", () => {
  expect(judge([...writes, late({})], failover([readOn(OLD)]))).toEqual([]);
});

test.each<[string, Partial<OperationRecord>, Recorded[]]>([
  ["a hit", { isHit: true }, [readOn(OLD)]],
  ["what the new primary is asked for", {}, [readOn(NEW)]],
  ["what no server was asked for", {}, []],
  ["what another node was answered", { node: 2 }, [readOn(OLD)]],
])("but %s is", (_, more, reads) => {
  expect(judge([...writes, late(more)], failover(reads))).toEqual(["staleness"]);
});
