import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LocalCache } from "../../lib/cache/local-cache.ts";
import { NearCache } from "../../lib/cache/near-cache.ts";
import { ALWAYS_LIVE } from "../../lib/cache/types.ts";
import { Deadlines } from "../../lib/redis/deadlines.ts";
import { createCounters } from "../../lib/reporting/counters.ts";
import { SessionQueue } from "../../lib/sessions/session-queue.ts";
import type { StoredSession } from "../../lib/sessions/stored-session.ts";

/** @param limitMs the time limit of its operations */
function queueWith(limitMs: number): SessionQueue {
  const cache = new NearCache<StoredSession>(new LocalCache(), ALWAYS_LIVE, createCounters());
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

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

describe("the operations of one session", () => {
  test("begin at once if nothing is under way", () => {
    const queue = queueWith(1_000);
    const { work } = operation();
    queue.runInTurn("set", ["a"], work).catch(ignore);
    expect(work).toHaveBeenCalledOnce();
    expect(queue.isBusy("a")).toBe(true);
  });

  test("begin in the order of their calls, each when the one before has settled", async () => {
    const queue = queueWith(60_000);
    const [first, second, third] = [operation(), operation(), operation()];
    const outcomes = [first, second, third].map(({ work }) => queue.runInTurn("set", ["a"], work));
    await turn();
    expect([second, third].map(({ work }) => work.mock.calls.length)).toEqual([0, 0]);
    first.resolve("1");
    await turn();
    expect([second, third].map(({ work }) => work.mock.calls.length)).toEqual([1, 0]);
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
    queue.runInTurn("set", ["a"], operation().work).catch(ignore);
    const { work } = operation();
    queue.runInTurn("set", ["b"], work).catch(ignore);
    expect(work).toHaveBeenCalledOnce();
  });

  test("wait for one on several sessions, and that one waits for all of them", async () => {
    const queue = queueWith(60_000);
    const [a, b, both, after] = [operation(), operation(), operation(), operation()];
    queue.runInTurn("set", ["a"], a.work).catch(ignore);
    queue.runInTurn("set", ["b"], b.work).catch(ignore);
    queue.runInTurn("destroy", ["a", "b"], both.work).catch(ignore);
    queue.runInTurn("set", ["b"], after.work).catch(ignore);
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

  test("continue after one that throws synchronously", async () => {
    const queue = queueWith(60_000);
    const failed = queue.runInTurn("set", ["a"], () => {
      throw new Error("at once");
    });
    await expect(failed).rejects.toThrow("at once");
    const { work } = operation();
    queue.runInTurn("set", ["a"], work).catch(ignore);
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
    const outcome = queue.runInTurn("set", ["a"], slow.work);
    await vi.advanceTimersByTimeAsync(500);
    const nextOutcome = queue.runInTurn("set", ["a"], next.work);
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
    const outcomes = [queue.runInTurn("set", ["a"], slow.work), queue.runInTurn("set", ["a"], next.work)];
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

test("it can be asked when everything called so far has settled", async () => {
  const queue = queueWith(60_000);
  const [a, b] = [operation(), operation()];
  queue.runInTurn("set", ["a"], a.work).catch(ignore);
  queue.runInTurn("set", ["b"], b.work).catch(ignore);
  const settled = vi.fn();
  void queue.settled().then(settled);
  a.resolve("");
  await turn();
  expect(settled).not.toHaveBeenCalled();
  b.reject(new Error("refused"));
  await turn();
  expect(settled).toHaveBeenCalledOnce();
});
