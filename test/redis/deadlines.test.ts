import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Deadline, Deadlines } from "../../lib/redis/deadlines.ts";
import { SessionStoreError } from "../../lib/reporting/errors.ts";

const never = () => new Promise<never>(() => {});

/** Advances the faked clock, then lets immediates run. */
async function advance(ms: number) {
  await vi.advanceTimersByTimeAsync(ms);
  await new Promise(setImmediate);
}

/** How a promise has ended by now. */
function watch(promise: Promise<unknown>) {
  const seen: { state: "pending" | "resolved" | "rejected"; value: unknown } = {
    state: "pending",
    value: undefined,
  };
  promise.then(
    (value) => Object.assign(seen, { state: "resolved", value }),
    (value: unknown) => Object.assign(seen, { state: "rejected", value }),
  );
  return seen;
}

describe("on a fake clock", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());

  test("a result is passed on", async () => {
    const deadlines = new Deadlines(100);
    expect(await deadlines.run("get a", () => Promise.resolve(7))).toBe(7);
  });

  test("an error is passed on as it is", async () => {
    const error = new Error("refused");
    const deadlines = new Deadlines(100);
    await expect(deadlines.run("get a", () => Promise.reject(error))).rejects.toBe(error);
  });

  test("work that throws synchronously is an error like any other, and ends", async () => {
    const error = new Error("refused");
    const deadlines = new Deadlines(100);
    const thrown = deadlines.run("get a", () => {
      throw error;
    });
    const settled = watch(deadlines.settled());
    await expect(thrown).rejects.toBe(error);
    expect(settled.state).toBe("resolved");
  });

  test("work that takes longer than the limit is an error that names it", async () => {
    const seen = watch(new Deadlines(100).run("get sess:a", never));
    await advance(99);
    expect(seen.state).toBe("pending");
    await advance(1);
    expect(seen.value).toBeInstanceOf(SessionStoreError);
    expect(seen.value).toMatchObject({
      code: "ERR_SESSION_TIMEOUT",
      message: "get sess:a: no answer in 100 ms",
    });
  });

  test("a result at the last moment is passed on", async () => {
    const work = () => new Promise((resolve) => setTimeout(resolve, 99, "late"));
    const seen = watch(new Deadlines(100).run("get a", work));
    await advance(200);
    expect(seen).toEqual({ state: "resolved", value: "late" });
  });

  test("what arrives after the deadline changes nothing", async () => {
    const work = () => new Promise((_, reject) => setTimeout(reject, 150, new Error("late")));
    const seen = watch(new Deadlines(100).run("get a", work));
    await advance(200);
    expect(seen.value).toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  });

  test("each operation has the whole limit from its own beginning", async () => {
    const deadlines = new Deadlines(100);
    const seen = [watch(deadlines.run("first", never))];
    await advance(30);
    seen.push(watch(deadlines.run("second", never)));
    await advance(30);
    seen.push(watch(deadlines.run("third", never)));
    const states = () => seen.map(({ state }) => state);
    await advance(40);
    expect(states()).toEqual(["rejected", "pending", "pending"]);
    await advance(30);
    expect(states()).toEqual(["rejected", "rejected", "pending"]);
    await advance(30);
    expect(states()).toEqual(["rejected", "rejected", "rejected"]);
  });

  test("an operation that begins when all others have ended has a deadline, too", async () => {
    const deadlines = new Deadlines(100);
    await deadlines.run("first", () => Promise.resolve());
    await advance(1_000);
    const seen = watch(deadlines.run("second", never));
    await advance(100);
    expect(seen.state).toBe("rejected");
  });

  test("an operation that has ended leaves no timer", async () => {
    const deadlines = new Deadlines(100);
    await deadlines.run("get a", () => Promise.resolve());
    await expect(deadlines.run("get a", () => Promise.reject(new Error("no")))).rejects.toThrow();
    await expect(
      deadlines.run("get a", () => {
        throw new Error("no");
      }),
    ).rejects.toThrow();
    watch(deadlines.run("get a", never));
    await advance(100);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("the work can see that its deadline has passed", async () => {
    let mine: Deadline | undefined;
    watch(
      new Deadlines(100).run("get a", (deadline) => {
        mine = deadline;
        return never();
      }),
    );
    await advance(99);
    expect(mine?.passed).toBe(false);
    await advance(1);
    expect(mine?.passed).toBe(true);
  });

  test("the deadline of work that was done in time never passes", async () => {
    let mine: Deadline | undefined;
    await new Deadlines(100).run("get a", async (deadline) => {
      mine = deadline;
    });
    await advance(1_000);
    expect(mine?.passed).toBe(false);
  });

  test("settled resolves at once when nothing is under way", async () => {
    const deadlines = new Deadlines(100);
    const seen = [watch(deadlines.settled())];
    await deadlines.run("get a", () => Promise.resolve());
    seen.push(watch(deadlines.settled()));
    await advance(0);
    expect(seen.map(({ state }) => state)).toEqual(["resolved", "resolved"]);
  });

  test("settled resolves when the last of those under way has been answered, well or not", async () => {
    const deadlines = new Deadlines(100);
    watch(deadlines.run("first", () => new Promise((resolve) => setTimeout(resolve, 10))));
    watch(deadlines.run("second", () => new Promise((_, reject) => setTimeout(reject, 20, new Error("no")))));
    const seen = watch(deadlines.settled());
    await advance(19);
    expect(seen.state).toBe("pending");
    await advance(1);
    expect(seen.state).toBe("resolved");
  });

  test("settled resolves after the limit at the latest", async () => {
    const deadlines = new Deadlines(100);
    watch(deadlines.run("first", never));
    const seen = watch(deadlines.settled());
    await advance(99);
    expect(seen.state).toBe("pending");
    await advance(1);
    expect(seen.state).toBe("resolved");
  });

  test("settled does not wait for what begins after it was asked", async () => {
    const deadlines = new Deadlines(100);
    watch(deadlines.run("before", () => new Promise((resolve) => setTimeout(resolve, 50))));
    const seen = watch(deadlines.settled());
    await advance(40);
    watch(deadlines.run("after", never));
    await advance(10);
    expect(seen.state).toBe("resolved");
  });

  test("settled waits for each who asks for what was under way then", async () => {
    const deadlines = new Deadlines(100);
    watch(deadlines.run("short", () => new Promise((resolve) => setTimeout(resolve, 10))));
    const early = watch(deadlines.settled());
    watch(deadlines.run("long", () => new Promise((resolve) => setTimeout(resolve, 20))));
    const late = watch(deadlines.settled());
    await advance(10);
    expect([early.state, late.state]).toEqual(["resolved", "pending"]);
    await advance(10);
    expect(late.state).toBe("resolved");
  });

  describe("whoever gives details", () => {
    function watched() {
      const seen: string[] = [];
      return { seen, onAnswered: () => seen.push("answered"), onSettled: () => seen.push("settled") };
    }

    test("knows of the end before the caller continues, be it a result or an error", async () => {
      const deadlines = new Deadlines(100);
      for (const work of [() => Promise.resolve(), () => Promise.reject(new Error("no"))]) {
        const { seen, ...details } = watched();
        const onEnd = () => [...seen];
        expect(await deadlines.run("get a", work, details).then(onEnd, onEnd)).toEqual([
          "answered",
          "settled",
        ]);
        expect(seen).toHaveLength(2);
      }
    });

    test("knows of a timeout before the caller continues, and later that the operation has settled", async () => {
      const { seen, ...details } = watched();
      const work = () => new Promise((resolve) => setTimeout(resolve, 150));
      const answer = new Deadlines(100).run("get a", work, details).catch(() => [...seen]);
      await advance(100);
      expect(await answer).toEqual(["answered"]);
      await advance(50);
      expect(seen).toEqual(["answered", "settled"]);
    });
  });
});

describe("on the real clock", () => {
  test("the error comes", async () => {
    const operations = [1, 5].map((limit) => new Deadlines(limit).run("get a", never));
    for (const operation of operations) {
      await expect(operation).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
    }
  });

  test("a deadline does not keep the process alive", () => {
    const timers = () => process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
    const before = timers();
    watch(new Deadlines(50).run("get a", never));
    expect(timers()).toBe(before);
  });
});
