import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LocalCache } from "../../lib/cache/local-cache.ts";
import { NearCache } from "../../lib/cache/near-cache.ts";
import { StaleEntries } from "../../lib/cache/stale-entries.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

function stored(text: string, expiresAt?: number): StoredSession {
  return new StoredSession({ serializer: JSON, prefix: "sess:" }, text, expiresAt);
}

/** A promise and the means to settle it. */
function reply<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

/** Runs a write from its call to its outcome, as the store does. */
async function writeWith(
  near: NearCache<StoredSession>,
  sid: string,
  carryOut: () => Promise<StoredSession | undefined>,
  sequence?: number,
): Promise<StoredSession | undefined> {
  const pending = near.beginWrite(sid);
  pending.sequence = sequence;
  let written: StoredSession | undefined;
  try {
    written = await carryOut();
    return written;
  } finally {
    near.endWrite(pending, written);
  }
}

/** The same for deletions of some sessions, or of all. */
async function removeWith<T>(
  near: NearCache<StoredSession>,
  sids: readonly string[] | "all",
  carryOut: () => Promise<T>,
): Promise<T> {
  const pending = sids === "all" ? undefined : near.beginWrite(...sids);
  if (pending === undefined) near.invalidateAll();
  try {
    return await carryOut();
  } finally {
    if (pending === undefined) near.invalidateAll();
    else near.endWrite(pending);
  }
}

/** The same for a change of the expiry. */
async function touchWith(
  near: NearCache<StoredSession>,
  sid: string,
  expiresAt: number,
  carryOut: () => Promise<"later" | "earlier" | "none">,
): Promise<string> {
  const touch = near.beginTouch(sid, expiresAt);
  let change: string | undefined;
  try {
    change = await carryOut();
    return change;
  } finally {
    near.endTouch(touch, change === "later");
  }
}

function nearCache() {
  const usable = { is: true };
  const local = new LocalCache<StoredSession>();
  const counters = createCounters();
  const near = new NearCache({ cache: local, gate: { isLive: () => usable.is }, counters });
  /** Reads with a reply that comes when the test says so. */
  const read = (sid = "a") => {
    const answer = reply<StoredSession | undefined>();
    const fetch = vi.fn(() => answer.promise);
    return { ...answer, fetch, result: near.read(sid, fetch) };
  };
  const write = (
    text: string,
    { sid = "a", expiresAt, sequence }: { sid?: string; expiresAt?: number; sequence?: number } = {},
  ) => {
    const answer = reply<boolean>();
    const carryOut = async () => ((await answer.promise) ? stored(text, expiresAt) : undefined);
    return { ...answer, result: writeWith(near, sid, carryOut, sequence) };
  };
  const fill = (text: string, sid = "a", expiresAt?: number) =>
    near.read(sid, () => Promise.resolve(stored(text, expiresAt)));
  const cached = (sid = "a") => local.peek(sid)?.text;
  return { near, local, usable, read, write, fill, cached, counters };
}

describe("hits", () => {
  test("what a read returned is served from then on", async () => {
    const { near, fill } = nearCache();
    await fill("1");
    expect([near.hit("a")?.text, near.peek("a")?.text]).toEqual(["1", "1"]);
  });

  test("a hit counts as a read and a peek does not", async () => {
    const { near, local, fill } = nearCache();
    await fill("1");
    near.peek("a");
    near.peek("b");
    expect(local.stats).toMatchObject({ hits: 0, misses: 0 });
    near.hit("a");
    near.hit("b");
    expect(local.stats).toMatchObject({ hits: 1, misses: 1 });
  });

  test("while the cache is not usable nothing is served", async () => {
    const { near, usable, fill } = nearCache();
    await fill("1");
    usable.is = false;
    expect([near.hit("a"), near.peek("a")]).toEqual([undefined, undefined]);
  });

  test("whether the cache is usable is checked at each read", async () => {
    const asked: number[] = [];
    const near = new NearCache({
      cache: new LocalCache<StoredSession>(),
      gate: { isLive: (now) => asked.push(now) > 0 },
      counters: createCounters(),
    });
    const before = performance.now();
    near.hit("a");
    near.peek("a");
    await near.read("a", () => Promise.resolve(stored("1")));
    const after = performance.now();
    expect(asked).toHaveLength(4);
    for (const now of asked) {
      expect(now).toBeGreaterThanOrEqual(before);
      expect(now).toBeLessThanOrEqual(after);
    }
  });
});

describe("reads", () => {
  test("1. a read without a usable cache fills nothing, even if the cache becomes usable meanwhile", async () => {
    const { usable, read, cached } = nearCache();
    usable.is = false;
    const only = read();
    usable.is = true;
    only.resolve(stored("1"));
    expect((await only.result)?.text).toBe("1");
    expect(cached()).toBeUndefined();
  });

  test("1. reads of one session without a usable cache are not shared", async () => {
    const { usable, read } = nearCache();
    usable.is = false;
    const first = read();
    const second = read();
    second.resolve(stored("2"));
    first.resolve(stored("1"));
    expect([(await first.result)?.text, (await second.result)?.text]).toEqual(["1", "2"]);
  });

  test("1. a read without a usable cache joins no other", () => {
    const { usable, read } = nearCache();
    read();
    usable.is = false;
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. simultaneous reads of one session share one", async () => {
    const { read } = nearCache();
    const first = read();
    const others = [read(), read()];
    first.resolve(stored("1"));
    for (const { result, fetch } of others) {
      expect((await result)?.text).toBe("1");
      expect(fetch).not.toHaveBeenCalled();
    }
  });

  test("3. reads of different sessions do not", () => {
    const { read } = nearCache();
    read("a");
    expect(read("b").fetch).toHaveBeenCalledOnce();
  });

  test("3. a read that has ended is not joined", async () => {
    const { read } = nearCache();
    const first = read();
    first.resolve(stored("1"));
    await first.result;
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read that failed fails for all who joined it, and for nobody after", async () => {
    const { read, cached } = nearCache();
    const first = read();
    const joined = read();
    first.reject(new Error("no answer"));
    await expect(first.result).rejects.toThrow("no answer");
    await expect(joined.result).rejects.toThrow("no answer");
    const next = read();
    next.resolve(stored("1"));
    expect((await next.result)?.text).toBe("1");
    expect(cached()).toBe("1");
  });

  test("3. a read is not joined after an invalidation of its session", () => {
    const { near, read } = nearCache();
    read();
    near.invalidate("a");
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read is not joined after a flush", () => {
    const { near, read } = nearCache();
    read();
    near.invalidateAll();
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read is not joined after a local write began: a process reads its writes", () => {
    const { read, write } = nearCache();
    read();
    write("2");
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read that began during a local write is not joined after it", async () => {
    const { read, write } = nearCache();
    const writing = write("2");
    read();
    writing.resolve(true);
    await writing.result;
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read that began before an overtaken one was answered is not joined: it may return something older", async () => {
    const { near, read } = nearCache();
    const old = read();
    near.invalidate("a");
    const newer = read();
    old.resolve(stored("1"));
    await old.result;
    const third = read();
    newer.resolve(stored("2"));
    third.resolve(stored("3"));
    expect(third.fetch).toHaveBeenCalledOnce();
    expect((await third.result)?.text).toBe("3");
  });

  test("3. a reply that was delayed until after its session's expiry is only for callers from before it", async () => {
    const { read } = nearCache();
    const first = read();
    const early = read();
    const end = performance.now() + 50;
    while (performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
    const late = read();
    expect([early.fetch, late.fetch].map((fetch) => fetch.mock.calls.length)).toEqual([0, 0]);
    late.resolve(undefined);
    first.resolve(stored("1", end));
    expect((await early.result)?.text).toBe("1");
    expect(await late.result).toBeUndefined();
    expect(late.fetch).toHaveBeenCalledOnce();
  });

  test("4. the reply is cached when it has arrived, not before", async () => {
    const { read, cached } = nearCache();
    const only = read();
    expect(cached()).toBeUndefined();
    only.resolve(stored("1"));
    await only.result;
    expect(cached()).toBe("1");
  });

  test("4. that there is no session is not cached", async () => {
    const { read, local } = nearCache();
    const only = read();
    only.resolve(undefined);
    expect(await only.result).toBeUndefined();
    expect(local.size).toBe(0);
  });

  const overtaken: [string, (near: NearCache<StoredSession>) => unknown][] = [
    ["an invalidation", (near) => near.invalidate("a")],
    ["a flush", (near) => near.invalidateAll()],
    ["the beginning of a local write", (near) => writeWith(near, "a", () => new Promise(() => {}))],
    ["the beginning of a removal", (near) => removeWith(near, ["b", "a"], () => new Promise(() => {}))],
    ["the beginning of a clear", (near) => removeWith(near, "all", () => new Promise(() => {}))],
  ];
  test.each(overtaken)(
    "4. a reply after %s is given out but not cached, and counted",
    async (_, overtake) => {
      const { near, read, cached, counters } = nearCache();
      const only = read();
      overtake(near);
      only.resolve(stored("1"));
      expect((await only.result)?.text).toBe("1");
      expect(cached()).toBeUndefined();
      expect(counters.fencedFills).toBe(1);
    },
  );

  test("4. a reply after an invalidation of another session is cached", async () => {
    const { near, read, cached, counters } = nearCache();
    const only = read();
    near.invalidate("b");
    only.resolve(stored("1"));
    await only.result;
    expect([cached(), counters.fencedFills]).toEqual(["1", 0]);
  });

  test("4. a reply that arrives when the cache is no longer usable is not cached", async () => {
    const { usable, read, cached, counters } = nearCache();
    const only = read();
    usable.is = false;
    only.resolve(stored("1"));
    await only.result;
    expect([cached(), counters.fencedFills]).toEqual([undefined, 0]);
  });

  test("5. a reply that is not cached drops what is: it may be the newer of the two", async () => {
    const { near, read, cached } = nearCache();
    const old = read();
    near.invalidate("a");
    const newer = read();
    newer.resolve(stored("2"));
    await newer.result;
    old.resolve(stored("1"));
    await old.result;
    expect(cached()).toBeUndefined();
  });
});

test("what is cached counts its memory and the characters of its id, and is counted again when it has grown", async () => {
  const { local, fill } = nearCache();
  await fill("12345");
  expect(local.bytes).toBe(stored("12345").bytes + "a".length);
});

test("what is kept without verification is counted again, too, and stays within the same limit", () => {
  const text = JSON.stringify({ cookie: {}, list: Array(100).fill({ a: 1 }) });
  const maxBytes = 20 * stored(text).bytes;
  const stale = new StaleEntries<StoredSession>(60_000, { maxBytes });
  const local = new LocalCache<StoredSession>({ maxBytes });
  const near = new NearCache({
    cache: local,
    gate: { isLive: () => true },
    counters: createCounters(),
    stale,
  });
  const sids = Array.from({ length: 10 }, (_, i) => `s${i}`);
  for (const sid of sids) near.endWrite(near.beginWrite(sid), stored(text));
  near.suspend(performance.now());
  for (const sid of [...sids, ...sids]) {
    const served = stale.serve(sid);
    served?.copy(sid);
    if (served !== undefined) near.recount(sid, served);
  }
  const kept = [...stale.entries()].map(([sid, { bytes }]) => bytes + sid.length);
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.reduce((sum, bytes) => sum + bytes)).toBeLessThanOrEqual(maxBytes);
});

describe("the expiry of a session", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "Date"] }));
  afterEach(() => void vi.useRealTimers());

  test("an entry expires with the key, if that is sooner than the cache's ttl", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", performance.now() + 500);
    vi.advanceTimersByTime(499);
    expect(near.hit("a")?.text).toBe("1");
    vi.advanceTimersByTime(1);
    expect(near.hit("a")).toBeUndefined();
  });

  test("an entry expires after the cache's ttl, if that is sooner", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", performance.now() + 500_000);
    vi.advanceTimersByTime(29_999);
    expect(near.hit("a")?.text).toBe("1");
    vi.advanceTimersByTime(1);
    expect(near.hit("a")).toBeUndefined();
  });

  test("a session whose key has expired meanwhile is not cached", async () => {
    const { local, read } = nearCache();
    const only = read();
    vi.advanceTimersByTime(10);
    only.resolve(stored("1", performance.now()));
    await only.result;
    expect(local.size).toBe(0);
  });

  test("a session that was written with an earlier expiry is served no longer", async () => {
    const { near, write } = nearCache();
    const writing = write("1", { expiresAt: performance.now() + 5 });
    writing.resolve(true);
    await writing.result;
    vi.advanceTimersByTime(4);
    expect(near.hit("a")?.text).toBe("1");
    vi.advanceTimersByTime(1);
    expect(near.hit("a")).toBeUndefined();
  });
});

describe("writes", () => {
  test("1. what was cached is not served while a write is pending", async () => {
    const { near, fill, write } = nearCache();
    await fill("1");
    write("2");
    expect(near.hit("a")).toBeUndefined();
  });

  test("2. a read that was sent and answered during the write may be older, and is not cached", async () => {
    const { fill, write, cached } = nearCache();
    const writing = write("2");
    await fill("1");
    expect(cached()).toBeUndefined();
    writing.reject(new Error("no answer"));
    await expect(writing.result).rejects.toThrow("no answer");
    expect(cached()).toBeUndefined();
  });

  test("2. a read that overlapped the write and answers after it is not cached", async () => {
    const { read, write, cached } = nearCache();
    const writing = write("2");
    const reading = read();
    writing.resolve(true);
    await writing.result;
    reading.resolve(stored("1"));
    await reading.result;
    expect(cached()).toBeUndefined();
  });

  test("2. nor is one that overlapped a write that failed", async () => {
    const { read, write, cached } = nearCache();
    const writing = write("2");
    const reading = read();
    writing.reject(new Error("no answer"));
    await expect(writing.result).rejects.toThrow();
    reading.resolve(stored("1"));
    await reading.result;
    expect(cached()).toBeUndefined();
  });

  test("3. what was written is served at once", async () => {
    const { near, write } = nearCache();
    const writing = write("2");
    writing.resolve(true);
    expect(await writing.result).toBeDefined();
    expect(near.hit("a")?.text).toBe("2");
  });

  test("3. unless a read was answered during the write: it may have seen something newer", async () => {
    const { fill, write, cached, counters } = nearCache();
    const writing = write("2");
    await fill("3");
    writing.resolve(true);
    await writing.result;
    expect([cached(), counters.fencedFills]).toEqual([undefined, 1]);
  });

  test("3. a message that arrives before the write's own is older, and keeps nothing out", async () => {
    const { near, write, cached } = nearCache();
    const writing = write("2", { sequence: 7 });
    near.invalidate("a");
    writing.resolve(true);
    await writing.result;
    near.invalidate("b");
    near.onOwnMessage("a", 7);
    expect(cached()).toBe("2");
  });

  test("3. a write is not cached, and counted, if a message about the session has arrived after its own", async () => {
    const { near, write, cached, counters } = nearCache();
    const writing = write("2", { sequence: 7 });
    near.onOwnMessage("a", 7);
    near.invalidate("a");
    writing.resolve(true);
    expect(await writing.result).toBeDefined();
    expect([cached(), counters.fencedFills]).toEqual([undefined, 1]);
  });

  test("3. a second copy of its own message does not excuse one that arrived between the two", async () => {
    const { near, write, cached } = nearCache();
    const writing = write("2", { sequence: 7 });
    near.onOwnMessage("a", 7);
    near.invalidate("a");
    near.onOwnMessage("a", 7);
    writing.resolve(true);
    await writing.result;
    expect(cached()).toBeUndefined();
  });

  test.each([
    ["not arrived", false],
    ["arrived", true],
  ])(
    "3. a write is not cached if its session is unsubscribed meanwhile, its own message having %s",
    async (_, hasArrived) => {
      const { near, fill, write, cached } = nearCache();
      await fill("1");
      const writing = write("2", { sequence: 7 });
      if (hasArrived) near.onOwnMessage("a", 7);
      near.onUnsubscribed("a");
      writing.resolve(true);
      await writing.result;
      expect(cached()).toBeUndefined();
      await fill("2");
      expect(cached()).toBe("2");
      near.onUnsubscribed("a");
      expect(cached()).toBeUndefined();
    },
  );

  test("3. the message of another write of this process invalidates what is cached", async () => {
    const { near, fill, cached } = nearCache();
    await fill("1");
    near.onOwnMessage("a", 7);
    expect(cached()).toBeUndefined();
  });

  test("3. nor one that was overtaken by a flush", async () => {
    const { near, write, cached, counters } = nearCache();
    const writing = write("2");
    near.invalidateAll();
    writing.resolve(true);
    await writing.result;
    expect([cached(), counters.fencedFills]).toEqual([undefined, 1]);
  });

  test("3. of two writes, the earlier one's end caches nothing, and the later one's value is cached", async () => {
    const { write, cached } = nearCache();
    const [first, second] = [write("1"), write("2")];
    first.resolve(true);
    await first.result;
    expect(cached()).toBeUndefined();
    second.resolve(true);
    await second.result;
    expect(cached()).toBe("2");
  });

  test("3. a read sent before the earlier of two writes was executed is not joined after it", async () => {
    const { near } = nearCache();
    const first = near.beginWrite("a");
    near.beginWrite("a");
    const [before, after] = [reply<StoredSession>(), reply<StoredSession>()];
    void near.read("a", () => before.promise);
    near.endWrite(first, stored("1"));
    const reading = near.read("a", () => after.promise);
    before.resolve(stored("0"));
    after.resolve(stored("1"));
    expect((await reading)?.text).toBe("1");
  });

  test("3. a write that was not executed caches nothing", async () => {
    const { fill, write, cached, counters } = nearCache();
    await fill("1");
    const writing = write("2");
    writing.resolve(false);
    expect(await writing.result).toBeUndefined();
    expect([cached(), counters.fencedFills]).toEqual([undefined, 0]);
  });

  test("3. a write that ends while the cache is not usable is not cached", async () => {
    const { usable, write, cached } = nearCache();
    const writing = write("2");
    usable.is = false;
    writing.resolve(true);
    await writing.result;
    expect(cached()).toBeUndefined();
  });

  test("3. a write that began while the cache was not usable is not cached: a later one may have been missed", async () => {
    const { usable, write, cached } = nearCache();
    usable.is = false;
    const writing = write("2");
    usable.is = true;
    writing.resolve(true);
    await writing.result;
    expect(cached()).toBeUndefined();
  });

  test("a write of one session leaves another as it is", async () => {
    const { fill, write, cached } = nearCache();
    await fill("1", "b");
    const writing = write("2");
    writing.resolve(true);
    await writing.result;
    expect(cached("b")).toBe("1");
  });
});

describe("removals", () => {
  test("return what was removed", async () => {
    const { near } = nearCache();
    expect(await removeWith(near, ["a"], () => Promise.resolve(7))).toBe(7);
  });

  test.each([[["a", "b"] as const], ["all" as const]])("of %s invalidate before and after", async (sids) => {
    const { near, fill, cached } = nearCache();
    await fill("1", "a");
    await fill("1", "b");
    const answer = reply<void>();
    const removing = removeWith(near, sids, () => answer.promise);
    expect([cached("a"), cached("b")]).toEqual([undefined, undefined]);
    await fill("1", "a");
    await fill("1", "b");
    answer.resolve();
    await removing;
    expect([cached("a"), cached("b")]).toEqual([undefined, undefined]);
  });

  test("invalidate after a failure, too", async () => {
    const { near, fill, cached } = nearCache();
    const answer = reply<void>();
    const removing = removeWith(near, ["a"], () => answer.promise);
    await fill("1");
    answer.reject(new Error("no answer"));
    await expect(removing).rejects.toThrow("no answer");
    expect(cached()).toBeUndefined();
  });

  test("revoke the replies of reads that began during them", async () => {
    const { near, read, cached } = nearCache();
    const answer = reply<void>();
    const removing = removeWith(near, ["a"], () => answer.promise);
    const reading = read();
    answer.resolve();
    await removing;
    reading.resolve(stored("1"));
    await reading.result;
    expect(cached()).toBeUndefined();
  });

  test("leave other sessions as they are", async () => {
    const { near, fill, cached } = nearCache();
    await fill("1", "b");
    await removeWith(near, ["a"], () => Promise.resolve());
    expect(cached("b")).toBe("1");
  });
});

describe("a change of the expiry", () => {
  test("gives what is cached the later expiry", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", performance.now() + 10_000);
    const later = performance.now() + 20_000;
    expect(await touchWith(near, "a", later, () => Promise.resolve("later"))).toBe("later");
    expect(near.hit("a")?.expiresAt).toBe(later);
  });

  test("still serves what is cached meanwhile", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", performance.now() + 10_000);
    touchWith(near, "a", performance.now() + 20_000, () => new Promise(() => {}));
    expect(near.hit("a")?.text).toBe("1");
  });

  test.each([
    ["an earlier one", performance.now() + 60_000],
    ["any, of a session that never ended", undefined],
  ])(
    "drops what is cached if it is %s: Redis may carry it out long before it answers",
    async (_, expiresAt) => {
      const { near, fill } = nearCache();
      await fill("1", "a", expiresAt);
      touchWith(near, "a", performance.now() + 20_000, () => new Promise(() => {}));
      expect(near.hit("a")).toBeUndefined();
    },
  );

  test("invalidates a session that is found not to exist", async () => {
    const { near, fill, cached } = nearCache();
    await fill("1");
    expect(await touchWith(near, "a", performance.now() + 20_000, () => Promise.resolve("none"))).toBe(
      "none",
    );
    expect(cached()).toBeUndefined();
  });

  test("keeps the expiry that was read after an invalidation", async () => {
    const { near, fill } = nearCache();
    const answer = reply<"later">();
    const sooner = performance.now() + 10_000;
    const touching = touchWith(near, "a", performance.now() + 20_000, () => answer.promise);
    near.invalidate("a");
    await fill("1", "a", sooner);
    answer.resolve("later");
    await touching;
    expect(near.hit("a")?.expiresAt).toBe(sooner);
  });

  test("keeps the expiry if it began while the cache was not usable: a change may have been missed", async () => {
    const { near, usable, fill } = nearCache();
    const answer = reply<"later">();
    const sooner = performance.now() + 10_000;
    usable.is = false;
    const touching = touchWith(near, "a", performance.now() + 20_000, () => answer.promise);
    usable.is = true;
    await fill("1", "a", sooner);
    answer.resolve("later");
    await touching;
    expect(near.hit("a")?.expiresAt).toBe(sooner);
  });

  test("limits what is read while it is pending: the reply may be from before it", async () => {
    const { near, fill } = nearCache();
    const end = performance.now() + 50;
    touchWith(near, "a", end, () => new Promise(() => {}));
    await fill("1", "a", performance.now() + 60_000);
    while (performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(near.hit("a")).toBeUndefined();
  });

  test("lets nobody join a read after it, although the reply may be from before it", async () => {
    const { near, read } = nearCache();
    const answer = reply<"earlier">();
    const end = performance.now() + 50;
    const touching = touchWith(near, "a", end, () => answer.promise);
    const first = read();
    while (performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
    const late = read();
    late.resolve(undefined);
    answer.resolve("earlier");
    await touching;
    first.resolve(stored("1", performance.now() + 60_000));
    expect((await first.result)?.text).toBe("1");
    expect(await late.result).toBeUndefined();
  });

  test("that turns out to be an earlier one invalidates what is cached", async () => {
    const { near, fill, cached } = nearCache();
    await fill("1", "a", performance.now() + 30_000);
    await touchWith(near, "a", performance.now() + 20_000, () => Promise.resolve("earlier"));
    expect(cached()).toBeUndefined();
  });

  test("that turns out to be an earlier one keeps out what was read before it", async () => {
    const { near, read, cached } = nearCache();
    const reading = read();
    await touchWith(near, "a", performance.now() + 20_000, () => Promise.resolve("earlier"));
    reading.resolve(stored("1", performance.now() + 30_000));
    await reading.result;
    expect(cached()).toBeUndefined();
  });

  test("that fails invalidates what is cached: it may have become an earlier one", async () => {
    const { near, fill, cached } = nearCache();
    await fill("1", "a", performance.now() + 10_000);
    const failing = touchWith(near, "a", performance.now() + 20_000, () =>
      Promise.reject(new Error("no answer")),
    );
    await expect(failing).rejects.toThrow("no answer");
    expect(cached()).toBeUndefined();
  });

  test("brings nothing into the cache", async () => {
    const { near, local } = nearCache();
    await touchWith(near, "a", performance.now() + 20_000, () => Promise.resolve("later"));
    expect(local.size).toBe(0);
  });
});

describe("invalidation", () => {
  test("returns whether the session was cached", async () => {
    const { near, fill } = nearCache();
    await fill("1");
    expect([near.invalidate("a"), near.invalidate("a")]).toEqual([true, false]);
  });

  test("one session leaves the others", async () => {
    const { near, fill, cached } = nearCache();
    await fill("1", "a");
    await fill("2", "b");
    near.invalidate("a");
    expect([cached("a"), cached("b")]).toEqual([undefined, "2"]);
  });

  test("all leaves none", async () => {
    const { near, local, fill } = nearCache();
    await fill("1", "a");
    await fill("2", "b");
    near.invalidateAll();
    expect(local.size).toBe(0);
  });
});

const SIDS = ["a", "b", "c"];

interface InFlight {
  readonly execute: () => void;
  readonly succeed: () => void;
  readonly fail: () => void;
  readonly isLocalChange: boolean;
  isExecuted: boolean;
}

/**
 * Redis, other processes and the network between, with every delay in the test's hand: an operation is sent, executed
 * and answered in three moments, and a change by others is announced in a fourth.
 */
class World {
  readonly usable = { is: true };
  readonly local = new LocalCache<StoredSession>();
  readonly near = new NearCache({
    cache: this.local,
    gate: { isLive: () => this.usable.is },
    counters: createCounters(),
  });
  inFlight: InFlight[] = [];
  /** Local changes that were reported as failed and may still be executed. */
  queued: (() => void)[] = [];
  /** In the order in which Redis executed the changes. */
  announcements: { readonly sid: string; readonly sequence?: number }[] = [];
  /** Sessions with a local change under way: the store runs them one after another. */
  readonly busy = new Set<string>();
  /** The sequence numbers of local changes that were reported as failed. */
  readonly failed = new Set<number>();

  #clock = 0;
  #textsMade = 0;
  readonly #texts = new Map<string, string>();
  readonly #versionOfText = new Map<string, number>();
  readonly #removedAt = new Map<string, number>();
  /** The newest version of a session that this process knows it wrote. */
  readonly #acknowledged = new Map<string, number>();
  /** The newest version that a read of this process has returned. */
  readonly #seen = new Map<string, number>();
  #sequence = 0;
  readonly broken: string[] = [];

  /** Nothing is under way, and everything was announced. */
  get isQuiet(): boolean {
    return this.inFlight.length + this.queued.length + this.announcements.length === 0;
  }

  /** What is cached is what Redis has. */
  expectCurrent(): void {
    for (const sid of SIDS) {
      const held = this.local.peek(sid);
      if (held !== undefined) expect(held.text).toBe(this.textOf(sid));
    }
  }

  textOf(sid: string): string | undefined {
    return this.#texts.get(sid);
  }

  read(sid: string): void {
    const acknowledged = Math.max(this.#acknowledged.get(sid) ?? 0, this.#seen.get(sid) ?? 0);
    const check = (how: string, session: StoredSession | undefined) => {
      const version =
        session === undefined ? (this.#removedAt.get(sid) ?? 0) : this.#versionOfText.get(session.text);
      if (version === undefined || version < acknowledged) {
        this.broken.push(`${how} of ${sid}: version ${version}, but ${acknowledged} was seen before`);
      }
      this.#seen.set(sid, Math.max(this.#seen.get(sid) ?? 0, version ?? 0));
    };
    const hit = this.near.hit(sid);
    if (hit !== undefined) {
      check("hit", hit);
      return;
    }
    const reading = this.near.read(sid, () => {
      let found: string | undefined;
      return this.#send(
        () => {
          found = this.#texts.get(sid);
        },
        () => (found === undefined ? undefined : stored(found)),
        false,
      );
    });
    reading.then(
      (session) => check("read", session),
      () => {},
    );
  }

  write(sid: string): void {
    if (this.busy.has(sid)) return;
    this.busy.add(sid);
    const text = this.#newText();
    const change = () => this.#put(sid, text);
    const sequence = ++this.#sequence;
    const send = () => this.#send(change, () => stored(text), true, { sid, sequence });
    writeWith(this.near, sid, send, sequence).then(
      () => {
        this.busy.delete(sid);
        this.#acknowledge(sid, this.#versionOfText.get(text) as number);
      },
      () => this.busy.delete(sid),
    );
  }

  remove(sids: readonly string[] | "all"): void {
    const gone = sids === "all" ? SIDS : sids;
    if (gone.some((sid) => this.busy.has(sid))) return;
    for (const sid of gone) this.busy.add(sid);
    let at = 0;
    const change = () => {
      at = this.#delete(gone);
    };
    const sequence = ++this.#sequence;
    const sid = sids === "all" ? "all" : (sids[0] as string);
    const end = () => {
      for (const each of gone) this.busy.delete(each);
    };
    removeWith(this.near, sids, () => this.#send(change, () => undefined, true, { sid, sequence })).then(
      () => {
        end();
        for (const each of gone) this.#acknowledge(each, at);
      },
      end,
    );
  }

  writeElsewhere(sid: string): void {
    this.#put(sid, this.#newText());
    this.#announce({ sid });
  }

  removeElsewhere(sid: string | "all"): void {
    this.#delete(sid === "all" ? SIDS : [sid]);
    this.#announce({ sid });
  }

  hear(): void {
    const message = this.announcements.shift();
    if (message === undefined) return;
    const { sid, sequence } = message;
    // One of a clear that timed out is news, since nothing else shows when it was executed.
    if (sequence !== undefined && (sid !== "all" || !this.failed.has(sequence))) {
      if (sid !== "all") this.near.onOwnMessage(sid, sequence);
    } else if (sid === "all") this.near.invalidateAll();
    else this.near.invalidate(sid);
  }

  goOn(pick: number): void {
    const operation = this.inFlight[pick % Math.max(1, this.inFlight.length)];
    if (operation === undefined) return;
    if (operation.isExecuted) {
      this.#land(operation);
      operation.succeed();
    } else {
      operation.isExecuted = true;
      operation.execute();
    }
  }

  fail(pick: number): void {
    const operation = this.inFlight[pick % Math.max(1, this.inFlight.length)];
    if (operation === undefined) return;
    this.#land(operation);
    if (operation.isLocalChange && !operation.isExecuted) this.queued.push(operation.execute);
    operation.fail();
  }

  carryOutLate(pick: number): void {
    const [execute] = this.queued.splice(pick % Math.max(1, this.queued.length), 1);
    execute?.();
  }

  /** The subscription is lost, and with it whatever was on its way. */
  loseTrust(): void {
    this.usable.is = false;
    this.announcements = [];
    this.near.invalidateAll();
  }

  gainTrust(): void {
    this.usable.is = true;
  }

  #send<T>(
    change: () => void,
    result: () => T,
    isLocalChange: boolean,
    message?: World["announcements"][0],
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const operation: InFlight = {
        isExecuted: false,
        isLocalChange,
        execute: () => {
          change();
          if (message !== undefined) this.#announce(message);
        },
        succeed: () => resolve(result()),
        fail: () => {
          if (message?.sequence !== undefined) this.failed.add(message.sequence);
          reject(new Error("no answer"));
        },
      };
      this.inFlight.push(operation);
    });
  }

  #land(operation: InFlight): void {
    this.inFlight = this.inFlight.filter((each) => each !== operation);
  }

  #announce(message: World["announcements"][0]): void {
    if (this.usable.is) this.announcements.push(message);
  }

  #newText(): string {
    return String(++this.#textsMade);
  }

  #put(sid: string, text: string): void {
    this.#texts.set(sid, text);
    this.#versionOfText.set(text, ++this.#clock);
  }

  #delete(sids: readonly string[]): number {
    this.#clock++;
    for (const sid of sids) {
      this.#texts.delete(sid);
      this.#removedAt.set(sid, this.#clock);
    }
    return this.#clock;
  }

  #acknowledge(sid: string, version: number): void {
    this.#acknowledged.set(sid, Math.max(this.#acknowledged.get(sid) ?? 0, version));
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** @param weights how often each action is taken, beside the others */
function modelTest(weights: Partial<Record<keyof typeof ACTIONS, number>>, sids: readonly string[]) {
  const action = fc.oneof(
    ...Object.entries(weights).map(([name, weight]) => ({
      weight,
      arbitrary: fc.constant(name as keyof typeof ACTIONS),
    })),
  );
  const step = fc.record({
    action,
    sid: fc.constantFrom(...sids),
    pick: fc.nat({ max: 11 }),
    settle: fc.boolean(),
  });
  return fc.asyncProperty(
    fc.array(step, { maxLength: 60, size: "max" }),
    fc.infiniteStream(fc.nat(11)),
    async (steps, picks) => {
      const world = new World();
      for (const { action, sid, pick, settle } of steps) {
        ACTIONS[action](world, sid, pick);
        if (settle) await turn();
        if (!world.usable.is) expect(world.local.size).toBe(0);
        if (settle && world.isQuiet) world.expectCurrent();
      }
      const pick = () => picks.next().value as number;
      while (!world.isQuiet) {
        if (pick() % 2 === 0) world.goOn(pick());
        else if (pick() % 3 === 0) world.carryOutLate(pick());
        else world.hear();
        if (pick() % 2 === 0) await turn();
      }
      await turn();
      world.expectCurrent();
      world.gainTrust();
      for (const sid of SIDS) world.read(sid);
      while (world.inFlight.length > 0) world.goOn(0);
      await turn();
      for (const sid of SIDS) expect(world.near.hit(sid)?.text).toBe(world.textOf(sid));
      expect(world.broken).toEqual([]);
    },
  );
}

const ACTIONS = {
  read: (world: World, sid: string) => world.read(sid),
  write: (world: World, sid: string) => world.write(sid),
  remove: (world: World, sid: string) => world.remove([sid]),
  clear: (world: World) => world.remove("all"),
  writeElsewhere: (world: World, sid: string) => world.writeElsewhere(sid),
  removeElsewhere: (world: World, sid: string) => world.removeElsewhere(sid),
  clearElsewhere: (world: World) => world.removeElsewhere("all"),
  hear: (world: World) => world.hear(),
  goOn: (world: World, _: string, pick: number) => world.goOn(pick),
  fail: (world: World, _: string, pick: number) => world.fail(pick),
  carryOutLate: (world: World, _: string, pick: number) => world.carryOutLate(pick),
  evict: (world: World, sid: string) => void world.near.invalidate(sid),
  loseTrust: (world: World) => world.loseTrust(),
  gainTrust: (world: World) => world.gainTrust(),
};

const BY_THIS_PROCESS = {
  read: 3,
  write: 2,
  remove: 1,
  clear: 1,
  goOn: 6,
  fail: 1,
  carryOutLate: 1,
  evict: 1,
};
const BY_OTHERS = { writeElsewhere: 2, removeElsewhere: 1, clearElsewhere: 1, hear: 2 };

describe("in any interleaving", () => {
  test("what is cached when all messages have arrived is what Redis has, and every process reads its writes", async () => {
    await fc.assert(modelTest({ ...BY_THIS_PROCESS, ...BY_OTHERS }, SIDS), { numRuns: 1_000 });
  });

  test("the same with a subscription that is lost and restored", async () => {
    const weights = { read: 1, write: 2, goOn: 5, writeElsewhere: 2, hear: 1, loseTrust: 1, gainTrust: 2 };
    await fc.assert(modelTest(weights, ["a"]), { numRuns: 1_000 });
  });
});

test("a later write that is never sent does not hide an earlier one that is pending", async () => {
  const { near, write, read, cached } = nearCache();
  const earlier = write("1", { sequence: 1 });
  // Refused at once, while the earlier one is on its way.
  near.endWrite(near.beginWrite("a"));
  let isWritten = false;
  const written = near.whenWritten("a")?.then(() => {
    isWritten = true;
  });
  await Promise.resolve();
  expect([written === undefined, isWritten]).toEqual([false, false]);
  earlier.resolve(true);
  await earlier.result;
  await written;
  expect(cached()).toBe("1");
  const after = read();
  after.resolve(undefined);
  await after.result;
});

test("the own message of an earlier write counts while a later one is pending", async () => {
  const { near, write, cached } = nearCache();
  const earlier = write("1", { sequence: 1 });
  const later = near.beginWrite("a");
  near.onOwnMessage("a", 1);
  // Another process's message: the earlier write is not the newest any more.
  near.invalidate("a");
  near.endWrite(later);
  earlier.resolve(true);
  await earlier.result;
  expect(cached()).toBeUndefined();
});

test.each(["__proto__", "constructor", "toString", "1"])("a session may have the id %s", (sid) => {
  const { near } = nearCache();
  expect(near.isInUse(sid)).toBe(false);
  const pending = near.beginWrite(sid);
  expect(near.isInUse(sid)).toBe(true);
  expect(near.whenWritten(sid)).toBeInstanceOf(Promise);
  near.endWrite(pending, stored('"1"'));
  expect(near.peek(sid)?.text).toBe('"1"');
  near.invalidate(sid);
  expect(near.isInUse(sid)).toBe(false);
  expect(near.whenWritten(sid)).toBeUndefined();
});

test("a write that has ended is not kept while another of its session is pending, however many follow", async () => {
  const { near } = nearCache();
  let pending = near.beginWrite("a");
  const endFirst = () => {
    const first = new WeakRef(pending);
    for (let i = 0; i < 10; i++) {
      const next = near.beginWrite("a");
      near.endWrite(pending);
      pending = next;
    }
    return first;
  };
  const first = endFirst();
  // What a WeakRef was created for stays until the end of that turn.
  await new Promise(setImmediate);
  collectGarbage();
  expect(first.deref()).toBeUndefined();
  near.endWrite(pending);
});

test("the own message of a deletion revokes the reads of each of its sessions", async () => {
  const { near, read, cached } = nearCache();
  const deletion = near.beginWrite("a", "b");
  deletion.sequence = 1;
  const [first, second] = [read("a"), read("b")];
  for (const sid of deletion.sids) near.onOwnMessage(sid, 1);
  first.resolve(stored("1"));
  second.resolve(stored("2"));
  await Promise.all([first.result, second.result]);
  expect([cached("a"), cached("b")]).toEqual([undefined, undefined]);
  near.endWrite(deletion);
});
