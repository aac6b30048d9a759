import { describe, expect, test } from "vitest";
import { Announcements } from "../../lib/invalidation/announcements.ts";
import { encodeInvalidation, type SessionInvalidated } from "../../lib/invalidation/messages.ts";
import type { ClusterCoordinatorOptions, OutgoingMessage } from "../../lib/invalidation/types.ts";
import { Deadline } from "../../lib/redis/deadlines.ts";

const OWN = "b0c6f9a2-0000-4000-8000-000000000001";
const OTHER = "b0c6f9a2-0000-4000-8000-000000000002";

/** Those of the store with the id `OWN`. */
function ownAnnouncements(): Announcements {
  const options = {
    nodeId: "same label",
    channel: "channel",
    topology: { fullPrefix: "sess:", channelTagOf: () => undefined },
    counters: { messagesPublished: 0 },
  } as unknown as ClusterCoordinatorOptions;
  return new Announcements(options, OWN);
}

function message(instanceId: string, sequence: number): SessionInvalidated {
  return { type: "SessionInvalidated", instanceId, sequence, nodeId: "same label" };
}

/** Where a message comes from whose text is determined by its sender and number. */
function originOf(announcements: Announcements, instanceId: string, sequence: number, hasCopies: boolean) {
  const received = message(instanceId, sequence);
  return originOfText(announcements, received, encodeInvalidation(received), hasCopies);
}

function originOfText(
  announcements: Announcements,
  received: SessionInvalidated,
  text: string,
  hasCopies: boolean,
) {
  if (announcements.isOwn(received, text)) return "own";
  return hasCopies && announcements.isCopy(text) ? "copy" : "new";
}

/** Begins a write with such a message. */
function begin(announcements: Announcements, deadline = new Deadline()): OutgoingMessage {
  return announcements.ofWrite("sid", deadline);
}

test("sequence numbers begin at 1 and are never given twice", () => {
  const announcements = ownAnnouncements();
  const messages = [begin(announcements), begin(announcements), begin(announcements)];
  expect(messages.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
});

describe("own messages", () => {
  test("are those with the store's id, while the write is under way and after it has succeeded", () => {
    const announcements = ownAnnouncements();
    const { sequence } = begin(announcements);
    expect(originOf(announcements, OWN, sequence, false)).toBe("own");
    expect(originOf(announcements, OWN, sequence, false)).toBe("own");
  });

  test("of a write with an unknown outcome are news", () => {
    const announcements = ownAnnouncements();
    const [first, second] = [begin(announcements), begin(announcements)];
    first.settle(false);
    expect(originOf(announcements, OWN, first.sequence, false)).toBe("new");
    expect(originOf(announcements, OWN, second.sequence, false)).toBe("own");
  });

  test("of a write whose caller has got its timeout are news, until it turns out to have succeeded", () => {
    const announcements = ownAnnouncements();
    const deadline = new Deadline();
    const written = begin(announcements, deadline);
    const { sequence } = written;
    expect(originOf(announcements, OWN, sequence, false)).toBe("own");
    deadline.pass();
    expect(originOf(announcements, OWN, sequence, false)).toBe("new");
    written.settle(true);
    expect(originOf(announcements, OWN, sequence, false)).toBe("own");
  });

  test("are not recognized by the label", () => {
    const announcements = ownAnnouncements();
    const { sequence } = begin(announcements);
    expect(originOf(announcements, OTHER, sequence, false)).toBe("new");
  });

  test("of failed writes are remembered up to a bound, the newest first", () => {
    const announcements = ownAnnouncements();
    const written = Array.from({ length: 1_001 }, () => begin(announcements));
    for (const each of written) each.settle(false);
    expect(originOf(announcements, OWN, 1, false)).toBe("own");
    expect(originOf(announcements, OWN, 2, false)).toBe("new");
    expect(originOf(announcements, OWN, 1_001, false)).toBe("new");
  });
});

describe("a forged message with the numbers of a real one", () => {
  test("is news while the write is under way, and the real one is still recognized", () => {
    const announcements = ownAnnouncements();
    const { sequence, message: realText } = begin(announcements);
    expect(originOfText(announcements, message(OWN, sequence), "another text", false)).toBe("new");
    expect(originOfText(announcements, message(OWN, sequence), realText, false)).toBe("own");
  });

  test("is news if the ids are not between the parts of the real one", () => {
    const announcements = ownAnnouncements();
    const { sequence, head, tail } = announcements.ofUnchanged("destroyWhere", new Deadline());
    expect(originOfText(announcements, message(OWN, sequence), `{"forged":["s"${tail}`, false)).toBe("new");
    expect(originOfText(announcements, message(OWN, sequence), `${head}"s"]]`, false)).toBe("new");
    expect(originOfText(announcements, message(OWN, sequence), `${head}"s","t"${tail}`, false)).toBe("own");
  });

  test("is no own message if this store has not come to that number", () => {
    const announcements = ownAnnouncements();
    begin(announcements);
    for (const sequence of [2, 1e9, 0, -1]) expect(originOf(announcements, OWN, sequence, false)).toBe("new");
  });

  test("does not make the real one a copy", () => {
    const announcements = ownAnnouncements();
    expect(originOfText(announcements, message(OTHER, 1), "forged", true)).toBe("new");
    expect(originOfText(announcements, message(OTHER, 1), "real", true)).toBe("new");
    expect(originOfText(announcements, message(OTHER, 1), "real", true)).toBe("copy");
  });
});

describe("copies", () => {
  test("are recognized where several primaries deliver messages", () => {
    const announcements = ownAnnouncements();
    const origins = [1, 2, 1, 2, 1].map((sequence) => originOf(announcements, OTHER, sequence, true));
    expect(origins).toEqual(["new", "new", "copy", "copy", "copy"]);
  });

  test("do not exist where one primary delivers them", () => {
    const announcements = ownAnnouncements();
    const origins = [1, 1].map((sequence) => originOf(announcements, OTHER, sequence, false));
    expect(origins).toEqual(["new", "new"]);
  });

  test("of an own write with an unknown outcome are copies, too", () => {
    const announcements = ownAnnouncements();
    const written = begin(announcements);
    const { sequence } = written;
    written.settle(false);
    const origins = [1, 2].map(() => originOf(announcements, OWN, sequence, true));
    expect(origins).toEqual(["new", "copy"]);
  });

  test("are recognized by sender and number together", () => {
    const announcements = ownAnnouncements();
    originOf(announcements, OTHER, 1, true);
    expect(originOf(announcements, `${OTHER} `, 1, true)).toBe("new");
    expect(originOf(announcements, OTHER, 11, true)).toBe("new");
  });

  test("are remembered up to a bound: one of an older message counts as new", () => {
    const announcements = ownAnnouncements();
    for (let sequence = 1; sequence <= 1_001; sequence++) originOf(announcements, OTHER, sequence, true);
    expect(originOf(announcements, OTHER, 1_001, true)).toBe("copy");
    expect(originOf(announcements, OTHER, 1, true)).toBe("new");
  });
});
