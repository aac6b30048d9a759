import { EventEmitter } from "node:events";
import { describe, expect, test } from "vitest";
import { eventually, nextEvent } from "./eventually.ts";

describe("eventually", () => {
  test("gives the first truthy result, however often the check threw before", async () => {
    let calls = 0;
    const check = async () => {
      calls++;
      if (calls < 3) throw new Error("not yet");
      return calls < 5 ? 0 : "there";
    };
    expect(await eventually(check)).toBe("there");
    expect(calls).toBe(5);
  });

  test("says what never became true, and the last result", async () => {
    const broken = () => {
      throw new Error("no such key");
    };
    const options = { timeoutMs: 20, what: "the key is there" };
    await expect(eventually(broken, options)).rejects.toThrow(/the key is there\nAt last: no such key/);
    await expect(eventually(() => 0, options)).rejects.toThrow(/the key is there\nAt last: 0/);
  });

  test("does not wait for a check that hangs", async () => {
    const hanging = () => new Promise<boolean>(() => {});
    await expect(eventually(hanging, { timeoutMs: 20 })).rejects.toThrow(/did not come to an end/);
  });
});

describe("nextEvent", () => {
  test("gives the arguments of the next event only", async () => {
    const emitter = new EventEmitter();
    const event = nextEvent(emitter, "news");
    emitter.emit("news", 1, "one");
    emitter.emit("news", 2, "two");
    expect(await event).toEqual([1, "one"]);
    expect(emitter.listenerCount("news")).toBe(0);
  });

  test("names the event that was not emitted, and removes its listener", async () => {
    const emitter = new EventEmitter();
    await expect(nextEvent(emitter, "news", { timeoutMs: 5 })).rejects.toThrow(/"news"/);
    expect(emitter.listenerCount("news")).toBe(0);
  });
});
