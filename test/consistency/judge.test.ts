import { expect, test } from "vitest";
import { checkRepeats, checkReports } from "./check-events.ts";
import { checkIndex } from "./check-index.ts";
import { checkReads } from "./check-reads.ts";
import { checkRegenerated } from "./check-regenerate.ts";
import { checkRest } from "./check-rest.ts";
import { checkWrites } from "./check-writes.ts";
import { buildHistories } from "./histories.ts";
import type { EventRecord, OperationRecord } from "./protocol.ts";
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

const NEW_SID = "new-0";
const removal = (at: number, node = 0): RedisEvent => ({ kind: "del", sid: SID, node, at });
const event = (name: string, at: number, node = 0, sid = NEW_SID): EventRecord => ({ node, at, name, sid });

/** Version 1 is loaded, and regenerated by node 0 from 100 to 110; the new session is version 2. */
function regenerated(
  { isIndexed, keepsOwner }: { isIndexed: boolean; keepsOwner: boolean },
  carriedOut: readonly RedisEvent[],
  events: readonly EventRecord[] = [],
): Guarantee[] {
  const replaced = { sid: SID, keepsOwner, from: 100, to: 110 };
  const operations = [
    call("set", [10, 12], { version: 1, stamp: "a" }),
    call("destroy", [50, 52], { node: 1 }),
    call("regenerate", [100, 110], { base: 1 }),
    call("set", [110, 120], { sid: NEW_SID, version: 2, stamp: "b", replaced }),
  ];
  const histories = buildHistories([SID, NEW_SID], operations, [set(11, 1, "a"), ...carriedOut]);
  const found: Guarantee[] = [];
  const report = ({ guarantee }: { guarantee: Guarantee }) => found.push(guarantee);
  for (const history of histories.sessions.values()) {
    checkRegenerated(history, histories, { isIndexed, events }, report);
  }
  return found;
}

const deletedBefore = [removal(51, 1), removal(105)];
const written = { ...set(115, 2, "b"), sid: NEW_SID };
const resurrection = [event("resurrection", 115)];

test.each<[string, boolean, boolean, RedisEvent[], EventRecord[], Guarantee[]]>([
  ["index, same owner, refused", true, true, deletedBefore, resurrection, []],
  ["index, same owner, written", true, true, [...deletedBefore, written], [], ["resurrection"]],
  ["index, another owner, written", true, false, [...deletedBefore, written], [], []],
  ["index, another owner, refused", true, false, deletedBefore, resurrection, ["lost"]],
  ["no index, written and reported", false, false, [...deletedBefore, written], resurrection, []],
  ["no index, written and not reported", false, false, [...deletedBefore, written], [], ["events"]],
])(
  "a session was deleted, and is regenerated: %s",
  (_, isIndexed, keepsOwner, carriedOut, events, expected) => {
    expect(regenerated({ isIndexed, keepsOwner }, carriedOut, events)).toEqual(expected);
  },
);

test.each<[string, RedisEvent[], EventRecord[], Guarantee[]]>([
  ["written", [removal(105), written], [], []],
  ["refused", [removal(105)], resurrection, ["lost", "events"]],
  ["refused, and perhaps deleted meanwhile", [removal(101, 1), removal(105)], resurrection, []],
])("a session that regenerate itself deletes: the new one is %s", (_, carriedOut, events, expected) => {
  expect(regenerated({ isIndexed: true, keepsOwner: true }, carriedOut, events)).toEqual(expected);
});

test.each<[string, EventRecord[], number]>([
  ["reported by both", [event("destroyed", 53, 0, SID), event("destroyed", 52, 1, SID)], 0],
  ["not reported by one", [event("destroyed", 53, 0, SID)], 1],
  ["missed by one that was not live", [event("destroyed", 53, 0, SID), event("suspect", 40, 1)], 0],
  ["missed by one whose connection ended", [event("destroyed", 53, 0, SID), event("suspect", 60, 1)], 0],
  ["missed by one whose lease ended", [event("destroyed", 53, 0, SID), event("suspect", 1_000, 1)], 0],
  ["perhaps a clear that its process did not live to report", [event("killed", 300, 0)], 0],
  ["reported by nobody, long before its process was killed", [event("killed", 9_000, 0)], 2],
])("a deletion is %s", (_, events, expected) => {
  const operations = [call("set", [10, 12], { version: 1, stamp: "a" }), call("destroy", [50, 52], {})];
  const histories = buildHistories([SID], operations, [set(11, 1, "a"), removal(51)]);
  let found = 0;
  const hits = [0, 1].map((node) => call("get", [BOUND_MS + 100, BOUND_MS + 100], { node, isHit: true }));
  checkReports(events, hits, histories, { nodes: 2, leaseMs: BOUND_MS }, () => found++);
  expect(found).toBe(expected);
});

const from = (label: string, at: number, node = 0): EventRecord => ({
  ...event("destroyed", at, node, SID),
  detail: `from ${label}`,
});
const again = set(60, 2, "b");

test.each<[string, RedisEvent[], EventRecord[], number]>([
  ["once by each node", [removal(51)], [from("twin", 52), from("twin", 53, 1)], 0],
  ["twice by one", [removal(51)], [from("twin", 52), from("twin", 53), from("twin", 53, 1)], 1],
  [
    "before another life of the session ends, too",
    [removal(51), again, removal(71)],
    [52, 72].map((at) => from("twin", at)),
    0,
  ],
  [
    "twice, and the end of the next life once",
    [removal(51), again, removal(71)],
    [52, 53, 72].map((at) => from("twin", at)),
    1,
  ],
  ["by the label of a node that deleted nothing then", [removal(51)], [from("label-2", 52)], 1],
  [
    "once, and so is that of another node",
    [removal(51), removal(52, 2)],
    [from("label-2", 53), from("twin", 54)],
    0,
  ],
  [
    "once, and nobody has executed another",
    [removal(51), removal(9_000)],
    [from("twin", 52), from("twin", 53)],
    1,
  ],
  [
    "twice, when the record may lack another",
    [removal(51), { kind: "restart", sid: "", node: undefined, at: 55 }],
    [from("twin", 52), from("twin", 53)],
    0,
  ],
])("a deletion is reported %s", (_, carriedOut, events, expected) => {
  const histories = buildHistories([SID], [], [set(11, 1, "a"), ...carriedOut]);
  let found = 0;
  checkRepeats(events, carriedOut, histories, () => found++);
  expect(found).toBe(expected);
});

test("a touch that is called while a write with another life is pending sets the end after it", () => {
  const minutes = (count: number) => count * 60_000;
  const life = (at: number, ttlMs: number, version: number, stamp: string): RedisEvent => ({
    ...set(at, version, stamp),
    ttlMs,
  });
  const operations = (isPending: boolean) => [
    call("set", [10, 12], { version: 1, stamp: "a", lifeMs: minutes(20) }),
    call("set", isPending ? [100, 110] : [100, 101], { version: 2, stamp: "b", lifeMs: minutes(40) }),
    call("touch", [102, 112], { lifeMs: minutes(20), loadedAt: 50 }),
  ];
  const carriedOut = [life(11, minutes(20), 1, "a"), life(101, minutes(40), 2, "b")];
  expect(judge(operations(true), carriedOut)).toEqual(["lifetime"]);
  expect(judge(operations(false), carriedOut)).toEqual([]);
});

test("a touch may be skipped because of a life that only a write past the store has changed, and of no other", () => {
  const minutes = (count: number) => count * 60_000;
  const life = (at: number, ttlMs: number, version: number, node?: number): RedisEvent => ({
    ...{ kind: "set", sid: SID, text: text(version, String(version)), node, at },
    ttlMs,
  });
  const touched = 10 * BOUND_MS;
  const operations = [
    call("set", [10, 12], { version: 1, stamp: "1", lifeMs: minutes(40) }),
    call("touch", [touched, touched], { lifeMs: minutes(40) }),
  ];
  const byAnother = call("set", [50, 52], { node: 1, version: 2, stamp: "2", lifeMs: minutes(20) });
  const first = life(11, minutes(40), 1, 0);
  expect(judge(operations, [first, life(51, minutes(20), 2)])).toEqual([]);
  expect(judge([...operations, byAnother], [first, life(51, minutes(20), 2, 1)])).toEqual(["lifetime"]);
});

test.each<[string, EventRecord[], number]>([
  ["its own", [], 1],
  ["perhaps another operation's, which its process did not live to report", [event("killed", 300, 0, "")], 0],
  ["its own, long before its process was killed", [event("killed", 5_000, 0, "")], 1],
  ["its own, when another process was killed", [event("killed", 300, 1, "")], 1],
])("a deletion of another's session, after a ban with an unknown outcome, is %s", (_, events, expected) => {
  const sid = "owned-1";
  const owned = {
    ...set(11, 1, "a"),
    sid,
    text: JSON.stringify({ v: 1, u: "ann", cookie: { expires: "a" } }),
  };
  const operations = [
    call("set", [10, 12], { sid, version: 1, stamp: "a" }),
    call("ban", [100, 150], { sid: "", owner: "bob", error: "Error: no answer" }),
  ];
  const histories = buildHistories([sid], operations, [owned, { ...removal(200), sid }]);
  let found = 0;
  checkIndex(histories, [], events, () => found++);
  expect(found).toBe(expected);
});

test.each([
  ["a node of the checker", 0, ["quiet", "expiry"]],
  ["a program that tells nobody", undefined, []],
])(
  "what is cached, and differs in text and end from what %s wrote last, is reported or not",
  (_, node, expected) => {
    const last = { kind: "set", sid: SID, text: text(2, "b"), node, at: 100 } as RedisEvent;
    const histories = buildHistories([SID], [], [set(10, 1, "a"), last]);
    const health = { redis: true, subscribed: true, tracking: null };
    const counted = { pending: 0, heapBytes: 0, hits: 0, resurrections: 0, fencedFills: 0, conflicts: 0 };
    const rest = { entries: [{ sid: SID, text: text(1, "a"), expiresAt: 9_000 }], health, ...counted };
    const found: Guarantee[] = [];
    const held = new Map([[SID, { text: text(2, "b"), endsAt: 5_000 }]]);
    checkRest([rest], held, histories, ({ guarantee }) => found.push(guarantee));
    expect(found).toEqual(expected);
  },
);
