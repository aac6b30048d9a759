import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { LocalCache } from "../../lib/cache/local-cache.ts";
import { NearCache } from "../../lib/cache/near-cache.ts";
import { ALWAYS_LIVE } from "../../lib/cache/types.ts";
import { Deadlines } from "../../lib/redis/deadlines.ts";
import { Outage } from "../../lib/redis/outage.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { SessionQueue } from "../../lib/sessions/session-queue.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

const newCache = () =>
  new NearCache<StoredSession>({ cache: new LocalCache(), gate: ALWAYS_LIVE, counters: createCounters() });

/** @param limitMs the time limit of its operations */
function queueWith(limitMs: number, cache: NearCache<StoredSession> = newCache()): SessionQueue {
  return new SessionQueue(new Deadlines(limitMs), cache, "");
}

/** An operation that ends when the test says so. */
function operation() {
  let resolve: (value: string) => void = () => {};
  let reject: (error: Error) => void = () => {};
  const outcome = new Promise<string>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  const work = vi.fn(() => outcome);
  return { work, resolve, reject };
}

/** For operations whose outcome a test does not look at. */
const ignore = () => {};

/** How a Redis looks that is connected and silent. */
const answersNothing = {
  probe: async () => {},
  explain: () => undefined,
  isConnected: () => true,
  checkConnections: () => true,
  onAnswer: undefined,
};

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("the operations of one session", () => {
  test("begin at once if nothing is under way", () => {
    const queue = queueWith(1_000);
    const { work } = operation();
    queue.enqueue("set", ["a"], work).catch(ignore);
    expect(work).toHaveBeenCalledOnce();
    expect(queue.isBusy("a")).toBe(true);
  });

  test("begin in the order of their calls, each when the one before has settled", async () => {
    const queue = queueWith(60_000);
    const [first, second, third] = [operation(), operation(), operation()];
    const outcomes = [first, second, third].map(({ work }) => queue.enqueue("set", ["a"], work));
    await turn();
    expect([second, third].map(({ work }) => work.mock.calls.length)).toEqual([0, 0]);
    first.resolve("1");
    await turn();
    expect([second, third].map(({ work }) => work.mock.calls.length)).toEqual([1, 0]);
    expect(queue.isBusy("a")).toBe(true);
    second.reject(new Error("refused"));
    await expect(outcomes[1]).rejects.toThrow("refused");
    await turn();
    expect(third.work).toHaveBeenCalledOnce();
    third.resolve("3");
    expect([await outcomes[0], await outcomes[2]]).toEqual(["1", "3"]);
    await turn();
    expect(queue.isBusy("a")).toBe(false);
  });

  test("do not wait for those of another", () => {
    const queue = queueWith(60_000);
    queue.enqueue("set", ["a"], operation().work).catch(ignore);
    const { work } = operation();
    queue.enqueue("set", ["b"], work).catch(ignore);
    expect(work).toHaveBeenCalledOnce();
  });

  test("wait for one on several sessions, and that one waits for all of them", async () => {
    const queue = queueWith(60_000);
    const [a, b, both, after] = [operation(), operation(), operation(), operation()];
    queue.enqueue("set", ["a"], a.work).catch(ignore);
    queue.enqueue("set", ["b"], b.work).catch(ignore);
    queue.enqueue("destroy", ["a", "b"], both.work).catch(ignore);
    queue.enqueue("set", ["b"], after.work).catch(ignore);
    a.resolve("");
    await turn();
    expect(both.work).not.toHaveBeenCalled();
    b.resolve("");
    await turn();
    expect([both, after].map(({ work }) => work.mock.calls.length)).toEqual([1, 0]);
    both.resolve("");
    await turn();
    expect(after.work).toHaveBeenCalledOnce();
  });

  test("one on several sessions waits for all of them, also if some fail", async () => {
    const queue = queueWith(60_000);
    const [a, b, both] = [operation(), operation(), operation()];
    queue.enqueue("set", ["a"], a.work).catch(ignore);
    queue.enqueue("set", ["b"], b.work).catch(ignore);
    const outcome = queue.enqueue("destroy", ["a", "b"], both.work);
    a.reject(new Error("refused"));
    await turn();
    expect(both.work).not.toHaveBeenCalled();
    b.resolve("");
    await turn();
    both.resolve("2");
    expect(await outcome).toBe("2");
    expect(["a", "b"].map((sid) => queue.isBusy(sid))).toEqual([false, false]);
  });

  test.each(["__proto__", "constructor", "hasOwnProperty", "0"])(
    "with the id %s are like any other",
    async (sid) => {
      const queue = queueWith(60_000);
      expect(queue.isBusy(sid)).toBe(false);
      const [first, second] = [operation(), operation()];
      const outcomes = [first, second].map(({ work }) => queue.enqueue("set", [sid], work));
      expect(queue.isBusy(sid)).toBe(true);
      await turn();
      expect(second.work).not.toHaveBeenCalled();
      first.resolve("1");
      second.resolve("2");
      expect(await Promise.all(outcomes)).toEqual(["1", "2"]);
      expect(queue.isBusy(sid)).toBe(false);
    },
  );

  test("continue after one that throws synchronously", async () => {
    const queue = queueWith(60_000);
    const failed = queue.enqueue("set", ["a"], () => {
      throw new Error("at once");
    });
    await expect(failed).rejects.toThrow("at once");
    const { work } = operation();
    queue.enqueue("set", ["a"], work).catch(ignore);
    await turn();
    expect(work).toHaveBeenCalledOnce();
  });
});

describe("an operation that takes too long", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());

  test("is answered, and still holds back the next: Redis may carry it out", async () => {
    const queue = queueWith(1_000);
    const [slow, next] = [operation(), operation()];
    const outcome = queue.enqueue("set", ["a"], slow.work);
    await vi.advanceTimersByTimeAsync(500);
    const nextOutcome = queue.enqueue("set", ["a"], next.work);
    const answered = expect(outcome).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
    await vi.advanceTimersByTimeAsync(500);
    await turn();
    await answered;
    expect(next.work).not.toHaveBeenCalled();
    slow.resolve("late");
    await turn();
    expect(next.work).toHaveBeenCalledOnce();
    next.resolve("2");
    expect(await nextOutcome).toBe("2");
  });

  test("before its turn is never begun", async () => {
    const queue = queueWith(1_000);
    const [slow, next] = [operation(), operation()];
    const outcomes = [queue.enqueue("set", ["a"], slow.work), queue.enqueue("set", ["a"], next.work)];
    const answered = Promise.all(
      outcomes.map((outcome) => expect(outcome).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" })),
    );
    await vi.advanceTimersByTimeAsync(1_000);
    await turn();
    await answered;
    slow.resolve("late");
    await turn();
    expect(next.work).not.toHaveBeenCalled();
    expect(queue.isBusy("a")).toBe(false);
  });
});

describe("a write", () => {
  test.each(["resolve", "reject"] as const)(
    "that will %s is pending until its caller continues",
    async (end) => {
      const cache = newCache();
      const queue = queueWith(60_000, cache);
      const { work, ...ends } = operation();
      const isPending = () => cache.isInUse("a");
      const outcome = queue.write("a", work).then(isPending, isPending);
      await turn();
      expect(isPending()).toBe(true);
      ends[end](new Error("refused") as Error & string);
      expect(await outcome).toBe(false);
    },
  );

  test("is pending while it waits for earlier ones, which end one by one", async () => {
    const cache = newCache();
    const queue = queueWith(60_000, cache);
    const [first, second] = [operation(), operation()];
    const [, outcome] = [first, second].map(({ work }) => queue.write("a", work).catch(ignore));
    first.reject(new Error("refused"));
    await turn();
    expect(cache.isInUse("a")).toBe(true);
    second.resolve("2");
    expect(await outcome).toBe("2");
    expect(cache.isInUse("a")).toBe(false);
  });

  test("that is refused ends at once, and leaves the earlier ones pending", async () => {
    const cache = newCache();
    const counters = createCounters();
    const outage = new Outage();
    const topology = { outage, combinesKeys: true, primaryIdOf: () => "" };
    const queue = new SessionQueue(new Deadlines(60_000, { admission: { topology, counters } }), cache, "");
    const [before, refused] = [operation(), operation()];
    const outcome = queue.write("a", before.work);
    // Redis is away as soon as it has not answered for no time at all.
    outage.start(0, { ...answersNothing, onBegin: ignore });
    onTestFinished(() => outage.stop());
    outage.asked();
    outage.timedOut();
    const refusals = [
      () => queue.write("a", refused.work),
      () => queue.write("b", refused.work),
      () => queue.delete(["a", "b"], refused.work),
    ];
    for (const refuse of refusals) {
      const refusal = refuse();
      expect([cache.isInUse("b"), queue.isBusy("b")]).toEqual([false, false]);
      await expect(refusal).rejects.toMatchObject({ code: "ERR_SESSION_UNAVAILABLE" });
    }
    expect([cache.isInUse("a"), queue.isBusy("a")]).toEqual([true, true]);
    before.resolve("1");
    expect(await outcome).toBe("1");
    expect([cache.isInUse("a"), queue.isBusy("a")]).toEqual([false, false]);
    expect(refused.work).not.toHaveBeenCalled();
  });

  /** Writes a session: what Redis holds then, and the message, are known once `executed` is resolved. */
  function writeOn(queue: SessionQueue) {
    const settle = vi.fn();
    const executed = operation();
    const outcome = queue.write("a", async (_, queued) => {
      queued.announce({ channel: "", baseChannel: "", sequence: 1, isReported: () => false, settle });
      await executed.work();
      queued.isPublished = true;
      queued.stored = new StoredSession({ serializer: JSON, prefix: "" }, "{}", undefined);
    });
    return { outcome, settle, executed };
  }

  test("fills the cache, and settles its message, before its caller and the session's next operation continue", async () => {
    const cache = newCache();
    const queue = queueWith(60_000, cache);
    const { outcome, settle, executed } = writeOn(queue);
    const state = () => [cache.peek("a")?.text, settle.mock.calls];
    const next = queue.enqueue("touch", ["a"], async () => state());
    expect(state()).toEqual([undefined, []]);
    executed.resolve("");
    expect([await outcome.then(state), await next]).toEqual([
      ["{}", [[true]]],
      ["{}", [[true]]],
    ]);
  });

  test("fails its message if it fails", async () => {
    const { outcome, settle, executed } = writeOn(queueWith(60_000));
    executed.reject(new Error("refused"));
    await expect(outcome).rejects.toThrow("refused");
    expect(settle.mock.calls).toEqual([[false]]);
  });

  test("caches nothing when it is answered after its caller has got a timeout", async () => {
    const cache = newCache();
    const { outcome, settle, executed } = writeOn(queueWith(1, cache));
    await expect(outcome).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
    expect(settle).not.toHaveBeenCalled();
    executed.resolve("");
    await turn();
    expect([cache.peek("a"), settle.mock.calls]).toEqual([undefined, [[true]]]);
  });

  test("is pending no more when it takes too long, and its outcome arrives later", async () => {
    const cache = newCache();
    const queue = queueWith(1, cache);
    const { work, resolve } = operation();
    await expect(queue.write("a", work)).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
    expect([cache.isInUse("a"), queue.isBusy("a")]).toEqual([false, true]);
    resolve("late");
    await turn();
    expect(queue.isBusy("a")).toBe(false);
  });
});

test("it can be asked when everything called so far has settled", async () => {
  const queue = queueWith(60_000);
  const [a, b] = [operation(), operation()];
  queue.enqueue("set", ["a"], a.work).catch(ignore);
  queue.enqueue("set", ["b"], b.work).catch(ignore);
  const settled = vi.fn();
  void queue.settled().then(settled);
  a.resolve("");
  await turn();
  expect(settled).not.toHaveBeenCalled();
  b.reject(new Error("refused"));
  await turn();
  expect(settled).toHaveBeenCalledOnce();
});
