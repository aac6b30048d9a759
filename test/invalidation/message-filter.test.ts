import { describe, expect, test } from "vitest";
import { MessageFilter } from "../../lib/invalidation/message-filter.ts";
import type { ClusterMessage } from "../../lib/invalidation/messages.ts";
import { Deadline } from "../../lib/redis/deadlines.ts";

const OWN = "b0c6f9a2-0000-4000-8000-000000000001";
const OTHER = "b0c6f9a2-0000-4000-8000-000000000002";

function message(instanceId: string, sequence: number): ClusterMessage {
  const base = { instanceId, sequence, nodeId: "same label", prefix: "sess:", sentAt: 0 };
  return { type: "SessionInvalidated", ...base };
}

/** Where a message comes from whose text is determined by its sender and number. */
function originOf(filter: MessageFilter, instanceId: string, sequence: number, hasCopies: boolean) {
  return filter.originOf(message(instanceId, sequence), `${instanceId} ${sequence}`, hasCopies);
}

/** Begins a write with such a message. @returns its number */
function begin(filter: MessageFilter, deadline = new Deadline()): number {
  const sequence = filter.nextSequence();
  filter.begin(sequence, { text: `${OWN} ${sequence}`, deadline, isNews: false });
  return sequence;
}

test("sequence numbers begin at 1 and are never given twice", () => {
  const filter = new MessageFilter(OWN);
  expect([begin(filter), begin(filter), begin(filter)]).toEqual([1, 2, 3]);
});

describe("own messages", () => {
  test("are those with the store's id, while the write is under way and after it has succeeded", () => {
    const filter = new MessageFilter(OWN);
    const sequence = begin(filter);
    expect(originOf(filter, OWN, sequence, false)).toBe("own");
    expect(originOf(filter, OWN, sequence, false)).toBe("own");
  });

  test("of a write with an unknown outcome are news", () => {
    const filter = new MessageFilter(OWN);
    const [first, second] = [begin(filter), begin(filter)];
    filter.end(first, false);
    expect(originOf(filter, OWN, first, false)).toBe("new");
    expect(originOf(filter, OWN, second, false)).toBe("own");
  });

  test("of a write whose caller has got its timeout are news, until it turns out to have succeeded", () => {
    const filter = new MessageFilter(OWN);
    const deadline = new Deadline();
    const sequence = begin(filter, deadline);
    expect(originOf(filter, OWN, sequence, false)).toBe("own");
    deadline.pass();
    expect(originOf(filter, OWN, sequence, false)).toBe("new");
    filter.end(sequence, true);
    expect(originOf(filter, OWN, sequence, false)).toBe("own");
  });

  test("are not recognized by the label", () => {
    const filter = new MessageFilter(OWN);
    const sequence = begin(filter);
    expect(originOf(filter, OTHER, sequence, false)).toBe("new");
  });

  test("of failed writes are remembered up to a bound, the newest first", () => {
    const filter = new MessageFilter(OWN);
    const sequences = Array.from({ length: 1_001 }, () => begin(filter));
    for (const sequence of sequences) filter.end(sequence, false);
    expect(originOf(filter, OWN, 1, false)).toBe("own");
    expect(originOf(filter, OWN, 2, false)).toBe("new");
    expect(originOf(filter, OWN, 1_001, false)).toBe("new");
  });
});

describe("a forged message with the numbers of a real one", () => {
  test("is news while the write is under way, and the real one is still recognized", () => {
    const filter = new MessageFilter(OWN);
    const sequence = filter.nextSequence();
    filter.begin(sequence, { text: "the real text", deadline: new Deadline(), isNews: false });
    expect(filter.originOf(message(OWN, sequence), "another text", false)).toBe("new");
    expect(filter.originOf(message(OWN, sequence), "the real text", false)).toBe("own");
  });

  test("is news if the ids are not between the parts of the real one", () => {
    const filter = new MessageFilter(OWN);
    const sequence = filter.nextSequence();
    const text = { head: '{"real":[', tail: "]}" };
    filter.begin(sequence, { text, deadline: new Deadline(), isNews: false });
    expect(filter.originOf(message(OWN, sequence), '{"forged":["s"]}', false)).toBe("new");
    expect(filter.originOf(message(OWN, sequence), '{"real":["s"]]', false)).toBe("new");
    expect(filter.originOf(message(OWN, sequence), '{"real":["s","t"]}', false)).toBe("own");
  });

  test("is no own message if this store has not come to that number", () => {
    const filter = new MessageFilter(OWN);
    begin(filter);
    for (const sequence of [2, 1e9, 0, -1]) expect(originOf(filter, OWN, sequence, false)).toBe("new");
  });

  test("does not make the real one a copy", () => {
    const filter = new MessageFilter(OWN);
    expect(filter.originOf(message(OTHER, 1), "forged", true)).toBe("new");
    expect(filter.originOf(message(OTHER, 1), "real", true)).toBe("new");
    expect(filter.originOf(message(OTHER, 1), "real", true)).toBe("copy");
  });
});

describe("copies", () => {
  test("are recognized where several primaries deliver messages", () => {
    const filter = new MessageFilter(OWN);
    const origins = [1, 2, 1, 2, 1].map((sequence) => originOf(filter, OTHER, sequence, true));
    expect(origins).toEqual(["new", "new", "copy", "copy", "copy"]);
  });

  test("do not exist where one primary delivers them", () => {
    const filter = new MessageFilter(OWN);
    const origins = [1, 1].map((sequence) => originOf(filter, OTHER, sequence, false));
    expect(origins).toEqual(["new", "new"]);
  });

  test("of an own write with an unknown outcome are copies, too", () => {
    const filter = new MessageFilter(OWN);
    const sequence = begin(filter);
    filter.end(sequence, false);
    const origins = [1, 2].map(() => originOf(filter, OWN, sequence, true));
    expect(origins).toEqual(["new", "copy"]);
  });

  test("are recognized by sender and number together", () => {
    const filter = new MessageFilter(OWN);
    originOf(filter, OTHER, 1, true);
    expect(originOf(filter, `${OTHER} `, 1, true)).toBe("new");
    expect(originOf(filter, OTHER, 11, true)).toBe("new");
  });

  test("are remembered up to a bound: one of an older message counts as new", () => {
    const filter = new MessageFilter(OWN);
    for (let sequence = 1; sequence <= 1_001; sequence++) originOf(filter, OTHER, sequence, true);
    expect(originOf(filter, OTHER, 1_001, true)).toBe("copy");
    expect(originOf(filter, OTHER, 1, true)).toBe("new");
  });
});
