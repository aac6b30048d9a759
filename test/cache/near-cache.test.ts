import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LocalCache } from "../../lib/cache/local-cache.ts";
import { NearCache } from "../../lib/cache/near-cache.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

function stored(text: string, expiresAt?: number): StoredSession {
  return new StoredSession(JSON, "sess:a", text, expiresAt);
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

function nearCache() {
  const trust = { is: true };
  const local = new LocalCache<StoredSession>();
  const counters = createCounters();
  const near = new NearCache(local, () => trust.is, counters);
  /** Reads with a reply that comes when the test says so. */
  const read = (sid = "a") => {
    const answer = reply<StoredSession | undefined>();
    const fetch = vi.fn(() => answer.promise);
    return { ...answer, fetch, result: near.read(sid, fetch) };
  };
  const write = (text: string, { sid = "a", expiresAt }: { sid?: string; expiresAt?: number } = {}) => {
    const answer = reply<boolean>();
    return {
      ...answer,
      result: near.write(sid, async () => ((await answer.promise) ? stored(text, expiresAt) : undefined)),
    };
  };
  const fill = (text: string, sid = "a", expiresAt?: number) =>
    near.read(sid, () => Promise.resolve(stored(text, expiresAt)));
  const held = (sid = "a") => local.peek(sid)?.text;
  return { near, local, counters, trust, read, write, fill, held };
}

describe("hits", () => {
  test("what a read brought is served from then on", async () => {
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

  test("while the cache is not trusted nothing is served", async () => {
    const { near, trust, fill } = nearCache();
    await fill("1");
    trust.is = false;
    expect([near.hit("a"), near.peek("a")]).toEqual([undefined, undefined]);
  });

  test("whether the cache is trusted is asked for the present moment", async () => {
    const asked: number[] = [];
    const near = new NearCache(
      new LocalCache<StoredSession>(),
      (now) => asked.push(now) > 0,
      createCounters(),
    );
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
  test("1. an untrusted read leaves nothing behind, even if trust comes meanwhile", async () => {
    const { trust, read, held } = nearCache();
    trust.is = false;
    const only = read();
    trust.is = true;
    only.resolve(stored("1"));
    expect((await only.result)?.text).toBe("1");
    expect(held()).toBeUndefined();
  });

  test("1. untrusted reads of one session go each its own way", async () => {
    const { trust, read } = nearCache();
    trust.is = false;
    const first = read();
    const second = read();
    second.resolve(stored("2"));
    first.resolve(stored("1"));
    expect([(await first.result)?.text, (await second.result)?.text]).toEqual(["1", "2"]);
  });

  test("1. an untrusted read does not join a trusted one", () => {
    const { trust, read } = nearCache();
    read();
    trust.is = false;
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
    const { read, held } = nearCache();
    const first = read();
    const joined = read();
    first.reject(new Error("no answer"));
    await expect(first.result).rejects.toThrow("no answer");
    await expect(joined.result).rejects.toThrow("no answer");
    const next = read();
    next.resolve(stored("1"));
    expect((await next.result)?.text).toBe("1");
    expect(held()).toBe("1");
  });

  test("3. a read is not joined after an invalidation of its session", () => {
    const { near, read } = nearCache();
    read();
    near.forget("a");
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read is not joined after a flush", () => {
    const { near, read } = nearCache();
    read();
    near.forgetAll();
    expect(read().fetch).toHaveBeenCalledOnce();
  });

  test("3. a read is not joined after a local write began: one reads what one wrote", () => {
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

  test("3. an overtaken read that ends leaves the newer one to be joined", async () => {
    const { near, read } = nearCache();
    const old = read();
    near.forget("a");
    const newer = read();
    old.resolve(stored("1"));
    await old.result;
    const third = read();
    newer.resolve(stored("2"));
    expect(third.fetch).not.toHaveBeenCalled();
    expect((await third.result)?.text).toBe("2");
  });

  test("3. a reply that was held up until after its session's end is only for those who had asked before", async () => {
    const { read } = nearCache();
    const first = read();
    const early = read();
    const end = Date.now() + 5;
    while (Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 1));
    const late = read();
    expect([early.fetch, late.fetch].map((fetch) => fetch.mock.calls.length)).toEqual([0, 0]);
    late.resolve(undefined);
    first.resolve(stored("1", end));
    expect((await early.result)?.text).toBe("1");
    expect(await late.result).toBeUndefined();
    expect(late.fetch).toHaveBeenCalledOnce();
  });

  test("4. the reply is cached when it has come, not before", async () => {
    const { read, held } = nearCache();
    const only = read();
    expect(held()).toBeUndefined();
    only.resolve(stored("1"));
    await only.result;
    expect(held()).toBe("1");
  });

  test("4. that there is no session is not cached", async () => {
    const { read, local } = nearCache();
    const only = read();
    only.resolve(undefined);
    expect(await only.result).toBeUndefined();
    expect(local.size).toBe(0);
  });

  const overtaken: [string, (near: NearCache<StoredSession>) => unknown][] = [
    ["an invalidation", (near) => near.forget("a")],
    ["a flush", (near) => near.forgetAll()],
    ["the beginning of a local write", (near) => near.write("a", () => new Promise(() => {}))],
    ["the beginning of a removal", (near) => near.remove(["b", "a"], () => new Promise(() => {}))],
    ["the beginning of a clear", (near) => near.remove("all", () => new Promise(() => {}))],
  ];
  test.each(overtaken)(
    "4. a reply after %s is given out but not cached, and counted",
    async (_, overtake) => {
      const { near, counters, read, held } = nearCache();
      const only = read();
      overtake(near);
      only.resolve(stored("1"));
      expect((await only.result)?.text).toBe("1");
      expect(held()).toBeUndefined();
      expect(counters.fencedFills).toBe(1);
    },
  );

  test("4. a reply after an invalidation of another session is cached", async () => {
    const { near, counters, read, held } = nearCache();
    const only = read();
    near.forget("b");
    only.resolve(stored("1"));
    await only.result;
    expect([held(), counters.fencedFills]).toEqual(["1", 0]);
  });

  test("4. a reply that comes when trust is lost is not cached", async () => {
    const { counters, trust, read, held } = nearCache();
    const only = read();
    trust.is = false;
    only.resolve(stored("1"));
    await only.result;
    expect([held(), counters.fencedFills]).toEqual([undefined, 0]);
  });

  test("4. an overtaken reply does not displace a newer one", async () => {
    const { near, read, held } = nearCache();
    const old = read();
    near.forget("a");
    const newer = read();
    newer.resolve(stored("2"));
    await newer.result;
    old.resolve(stored("1"));
    await old.result;
    expect(held()).toBe("2");
  });
});

test("what is cached counts the bytes of its key and text", async () => {
  const { local, fill } = nearCache();
  await fill("12345");
  expect(local.bytes).toBe(stored("12345").bytes);
});

describe("the end of a session", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "Date"] }));
  afterEach(() => void vi.useRealTimers());

  test("a hit ends with the key, if that is sooner than the cache's time", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", Date.now() + 500);
    vi.advanceTimersByTime(499);
    expect(near.hit("a")?.text).toBe("1");
    vi.advanceTimersByTime(1);
    expect(near.hit("a")).toBeUndefined();
  });

  test("a hit ends with the cache's time, if that is sooner", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", Date.now() + 500_000);
    vi.advanceTimersByTime(29_999);
    expect(near.hit("a")?.text).toBe("1");
    vi.advanceTimersByTime(1);
    expect(near.hit("a")).toBeUndefined();
  });

  test("a session whose key has expired meanwhile is not cached", async () => {
    const { local, read } = nearCache();
    const only = read();
    vi.advanceTimersByTime(10);
    only.resolve(stored("1", Date.now()));
    await only.result;
    expect(local.size).toBe(0);
  });

  test("a session that was written to end sooner is served no longer", async () => {
    const { near, write } = nearCache();
    const writing = write("1", { expiresAt: Date.now() + 5 });
    writing.resolve(true);
    await writing.result;
    vi.advanceTimersByTime(4);
    expect(near.hit("a")?.text).toBe("1");
    vi.advanceTimersByTime(1);
    expect(near.hit("a")).toBeUndefined();
  });
});

describe("writes", () => {
  test("1. what was held is not served while a write is under way", async () => {
    const { near, fill, write } = nearCache();
    await fill("1");
    write("2");
    expect(near.hit("a")).toBeUndefined();
  });

  test("2. what a read filled during the write is not served after it", async () => {
    const { fill, write, held } = nearCache();
    const writing = write("2");
    await fill("1");
    expect(held()).toBe("1");
    writing.reject(new Error("no answer"));
    await expect(writing.result).rejects.toThrow("no answer");
    expect(held()).toBeUndefined();
  });

  test("2. a read that overlapped the write and answers after it is not cached", async () => {
    const { read, write, held } = nearCache();
    const writing = write("2");
    const reading = read();
    writing.resolve(true);
    await writing.result;
    reading.resolve(stored("1"));
    await reading.result;
    expect(held()).toBe("2");
  });

  test("2. nor is one that overlapped a write that failed", async () => {
    const { read, write, held } = nearCache();
    const writing = write("2");
    const reading = read();
    writing.reject(new Error("no answer"));
    await expect(writing.result).rejects.toThrow();
    reading.resolve(stored("1"));
    await reading.result;
    expect(held()).toBeUndefined();
  });

  test("3. what was written is served at once", async () => {
    const { near, write } = nearCache();
    const writing = write("2");
    writing.resolve(true);
    expect(await writing.result).toBeDefined();
    expect(near.hit("a")?.text).toBe("2");
  });

  test("3. in the place of what a read filled during the write", async () => {
    const { fill, write, held } = nearCache();
    const writing = write("2");
    await fill("1");
    writing.resolve(true);
    await writing.result;
    expect(held()).toBe("2");
  });

  test("3. a write that was overtaken by an invalidation is not cached, and counted", async () => {
    const { near, counters, write, held } = nearCache();
    const writing = write("2");
    near.forget("a");
    writing.resolve(true);
    expect(await writing.result).toBeDefined();
    expect([held(), counters.fencedFills]).toEqual([undefined, 1]);
  });

  test("3. nor one that was overtaken by a flush", async () => {
    const { near, counters, write, held } = nearCache();
    const writing = write("2");
    near.forgetAll();
    writing.resolve(true);
    await writing.result;
    expect([held(), counters.fencedFills]).toEqual([undefined, 1]);
  });

  test.each([
    ["the order of their beginnings", [0, 1]],
    ["the other order", [1, 0]],
  ])("3. of two writes that overlapped and end in %s, neither is taken for the last", async (_, order) => {
    const { write, held } = nearCache();
    const writings = [write("1"), write("2")];
    for (const i of order) {
      writings[i]?.resolve(true);
      await writings[i]?.result;
    }
    expect(held()).toBeUndefined();
  });

  test("3. a write that did not take place leaves nothing behind", async () => {
    const { counters, fill, write, held } = nearCache();
    await fill("1");
    const writing = write("2");
    writing.resolve(false);
    expect(await writing.result).toBeUndefined();
    expect([held(), counters.fencedFills]).toEqual([undefined, 0]);
  });

  test("3. a write that ends while the cache is not trusted is not cached", async () => {
    const { trust, write, held } = nearCache();
    const writing = write("2");
    trust.is = false;
    writing.resolve(true);
    await writing.result;
    expect(held()).toBeUndefined();
  });

  test("3. a write that began while the cache was not trusted is not cached: a later one may have gone unheard", async () => {
    const { trust, write, held } = nearCache();
    trust.is = false;
    const writing = write("2");
    trust.is = true;
    writing.resolve(true);
    await writing.result;
    expect(held()).toBeUndefined();
  });

  test("a write of one session leaves another as it is", async () => {
    const { fill, write, held } = nearCache();
    await fill("1", "b");
    const writing = write("2");
    writing.resolve(true);
    await writing.result;
    expect(held("b")).toBe("1");
  });
});

describe("removals", () => {
  test("give back what was removed", async () => {
    const { near } = nearCache();
    expect(await near.remove(["a"], () => Promise.resolve(7))).toBe(7);
  });

  test.each([[["a", "b"] as const], ["all" as const]])("of %s forget before and after", async (sids) => {
    const { near, fill, held } = nearCache();
    await fill("1", "a");
    await fill("1", "b");
    const answer = reply<void>();
    const removing = near.remove(sids, () => answer.promise);
    expect([held("a"), held("b")]).toEqual([undefined, undefined]);
    await fill("1", "a");
    await fill("1", "b");
    answer.resolve();
    await removing;
    expect([held("a"), held("b")]).toEqual([undefined, undefined]);
  });

  test("forget after a failure, too", async () => {
    const { near, fill, held } = nearCache();
    const answer = reply<void>();
    const removing = near.remove(["a"], () => answer.promise);
    await fill("1");
    answer.reject(new Error("no answer"));
    await expect(removing).rejects.toThrow("no answer");
    expect(held()).toBeUndefined();
  });

  test("void the replies of reads that began during them", async () => {
    const { near, read, held } = nearCache();
    const answer = reply<void>();
    const removing = near.remove(["a"], () => answer.promise);
    const reading = read();
    answer.resolve();
    await removing;
    reading.resolve(stored("1"));
    await reading.result;
    expect(held()).toBeUndefined();
  });

  test("leave other sessions as they are", async () => {
    const { near, fill, held } = nearCache();
    await fill("1", "b");
    await near.remove(["a"], () => Promise.resolve());
    expect(held("b")).toBe("1");
  });
});

describe("giving another end", () => {
  test("gives what is held the later end", async () => {
    const { near, fill } = nearCache();
    await fill("1", "a", Date.now() + 10_000);
    const later = Date.now() + 20_000;
    expect(await near.expire("a", later, () => Promise.resolve("later"))).toBe("later");
    expect(near.hit("a")?.expiresAt).toBe(later);
  });

  test("goes on serving what is held meanwhile", async () => {
    const { near, fill } = nearCache();
    await fill("1");
    near.expire("a", Date.now() + 20_000, () => new Promise(() => {}));
    expect(near.hit("a")?.text).toBe("1");
  });

  test("forgets a session that is found not to exist", async () => {
    const { near, fill, held } = nearCache();
    await fill("1");
    expect(await near.expire("a", Date.now() + 20_000, () => Promise.resolve("none"))).toBe("none");
    expect(held()).toBeUndefined();
  });

  test("leaves the end alone that was read after an invalidation", async () => {
    const { near, fill } = nearCache();
    const answer = reply<"later">();
    const sooner = Date.now() + 10_000;
    const touching = near.expire("a", Date.now() + 20_000, () => answer.promise);
    near.forget("a");
    await fill("1", "a", sooner);
    answer.resolve("later");
    await touching;
    expect(near.hit("a")?.expiresAt).toBe(sooner);
  });

  test("leaves the end alone if it began while the cache was not trusted: it may have been changed unheard", async () => {
    const { near, trust, fill } = nearCache();
    const answer = reply<"later">();
    const sooner = Date.now() + 10_000;
    trust.is = false;
    const touching = near.expire("a", Date.now() + 20_000, () => answer.promise);
    trust.is = true;
    await fill("1", "a", sooner);
    answer.resolve("later");
    await touching;
    expect(near.hit("a")?.expiresAt).toBe(sooner);
  });

  test("that turns out to be an earlier one forgets what is held", async () => {
    const { near, fill, held } = nearCache();
    await fill("1", "a", Date.now() + 30_000);
    await near.expire("a", Date.now() + 20_000, () => Promise.resolve("earlier"));
    expect(held()).toBeUndefined();
  });

  test("that turns out to be an earlier one keeps out what was read before it", async () => {
    const { near, read, held } = nearCache();
    const reading = read();
    await near.expire("a", Date.now() + 20_000, () => Promise.resolve("earlier"));
    reading.resolve(stored("1", Date.now() + 30_000));
    await reading.result;
    expect(held()).toBeUndefined();
  });

  test("that fails forgets what is held: it may have become an earlier one", async () => {
    const { near, fill, held } = nearCache();
    await fill("1", "a", Date.now() + 10_000);
    const failing = near.expire("a", Date.now() + 20_000, () => Promise.reject(new Error("no answer")));
    await expect(failing).rejects.toThrow("no answer");
    expect(held()).toBeUndefined();
  });

  test("brings nothing into the cache", async () => {
    const { near, local } = nearCache();
    await near.expire("a", Date.now() + 20_000, () => Promise.resolve("later"));
    expect(local.size).toBe(0);
  });
});

describe("forgetting", () => {
  test("says whether the session was held", async () => {
    const { near, fill } = nearCache();
    await fill("1");
    expect([near.forget("a"), near.forget("a")]).toEqual([true, false]);
  });

  test("one session leaves the others", async () => {
    const { near, fill, held } = nearCache();
    await fill("1", "a");
    await fill("2", "b");
    near.forget("a");
    expect([held("a"), held("b")]).toEqual([undefined, "2"]);
  });

  test("all leaves none", async () => {
    const { near, local, fill } = nearCache();
    await fill("1", "a");
    await fill("2", "b");
    near.forgetAll();
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
 * Redis, other processes and the network between, with every delay in the test's hand: an operation is sent, carried out
 * and answered in three moments, and a change by others is announced in a fourth.
 */
class World {
  readonly trust = { is: true };
  readonly local = new LocalCache<StoredSession>();
  readonly near = new NearCache(this.local, () => this.trust.is, createCounters());
  inFlight: InFlight[] = [];
  /** Local changes that were reported as failed and may still be carried out. */
  queued: (() => void)[] = [];
  announcements: (string | "all")[] = [];

  #clock = 0;
  #textsMade = 0;
  readonly #texts = new Map<string, string>();
  readonly #versionOfText = new Map<string, number>();
  readonly #removedAt = new Map<string, number>();
  /** The newest version of a session that this process has been told that it wrote. */
  readonly #acknowledged = new Map<string, number>();
  readonly broken: string[] = [];

  /** Nothing is under way, and everything was announced. */
  get isQuiet(): boolean {
    return this.inFlight.length + this.queued.length + this.announcements.length === 0;
  }

  /** What is held is what Redis has. */
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
    const acknowledged = this.#acknowledged.get(sid) ?? 0;
    const check = (how: string, session: StoredSession | undefined) => {
      const version =
        session === undefined ? (this.#removedAt.get(sid) ?? 0) : this.#versionOfText.get(session.text);
      if (version === undefined || version < acknowledged) {
        this.broken.push(`${how} of ${sid}: version ${version}, but ${acknowledged} was acknowledged before`);
      }
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
    const text = this.#newText();
    const change = () => this.#put(sid, text);
    this.near
      .write(sid, () => this.#send(change, () => stored(text), true, sid))
      .then(
        () => this.#acknowledge(sid, this.#versionOfText.get(text) as number),
        () => {},
      );
  }

  remove(sids: readonly string[] | "all"): void {
    const gone = sids === "all" ? SIDS : sids;
    let at = 0;
    const change = () => {
      at = this.#delete(gone);
    };
    this.near
      .remove(sids, () => this.#send(change, () => undefined, true, sids === "all" ? "all" : sids[0]))
      .then(
        () => {
          for (const sid of gone) this.#acknowledge(sid, at);
        },
        () => {},
      );
  }

  writeElsewhere(sid: string): void {
    this.#put(sid, this.#newText());
    this.#announce(sid);
  }

  removeElsewhere(sid: string | "all"): void {
    this.#delete(sid === "all" ? SIDS : [sid]);
    this.#announce(sid);
  }

  hear(pick: number): void {
    const [what] = this.announcements.splice(pick % Math.max(1, this.announcements.length), 1);
    if (what === "all") this.near.forgetAll();
    else if (what !== undefined) this.near.forget(what);
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
    this.trust.is = false;
    this.announcements = [];
    this.near.forgetAll();
  }

  gainTrust(): void {
    this.trust.is = true;
  }

  #send<T>(change: () => void, result: () => T, isLocalChange: boolean, announced?: string): Promise<T> {
    return new Promise((resolve, reject) => {
      const operation: InFlight = {
        isExecuted: false,
        isLocalChange,
        execute: () => {
          change();
          // One's own message is passed over, unless the write was given up before.
          if (announced !== undefined && !this.inFlight.includes(operation)) this.#announce(announced);
        },
        succeed: () => resolve(result()),
        fail: () => reject(new Error("no answer")),
      };
      this.inFlight.push(operation);
    });
  }

  #land(operation: InFlight): void {
    this.inFlight = this.inFlight.filter((each) => each !== operation);
  }

  #announce(what: string): void {
    if (this.trust.is) this.announcements.push(what);
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
        if (!world.trust.is) expect(world.local.size).toBe(0);
        if (settle && world.isQuiet) world.expectCurrent();
      }
      const pick = () => picks.next().value as number;
      while (!world.isQuiet) {
        if (pick() % 2 === 0) world.goOn(pick());
        else if (pick() % 3 === 0) world.carryOutLate(pick());
        else world.hear(pick());
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
  hear: (world: World, _: string, pick: number) => world.hear(pick),
  goOn: (world: World, _: string, pick: number) => world.goOn(pick),
  fail: (world: World, _: string, pick: number) => world.fail(pick),
  carryOutLate: (world: World, _: string, pick: number) => world.carryOutLate(pick),
  evict: (world: World, sid: string) => void world.near.forget(sid),
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
  test("what is held when all was heard is what Redis has, and nobody reads less than he wrote", async () => {
    await fc.assert(modelTest({ ...BY_THIS_PROCESS, ...BY_OTHERS }, SIDS), { numRuns: 1_000 });
  });

  test("the same with a subscription that comes and goes", async () => {
    const weights = { read: 1, write: 2, goOn: 5, writeElsewhere: 2, hear: 1, loseTrust: 1, gainTrust: 2 };
    await fc.assert(modelTest(weights, ["a"]), { numRuns: 1_000 });
  });
});
