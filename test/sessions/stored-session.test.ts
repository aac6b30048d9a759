import type { SessionData } from "express-session";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Serializer } from "../../lib/options/types.ts";
import { SessionStoreError } from "../../lib/reporting/errors.ts";
import { StoredSession } from "../../lib/sessions/stored-session.ts";

const END = 1_800_000_000_000;

// Both clocks stand still, so that an expiry by one is exact by the other.
beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "Date"], now: END - 60_000 }));
afterEach(() => void vi.useRealTimers());

/** A time of the wall clock, by performance.now(). */
const monotonic = (time: number) => time - Date.now() + performance.now();
const TEXT = '{"cookie":{"expires":"2020-01-01T00:00:00.000Z"},"cart":{"items":[1]}}';

interface Cart extends SessionData {
  cart: { items: number[] };
}

/** A serializer that is not JSON, though it writes the same. */
function customized(): Serializer & { parsed: number } {
  return {
    parsed: 0,
    parse(text) {
      this.parsed++;
      return JSON.parse(text) as SessionData;
    },
    stringify: JSON.stringify,
  };
}

/** The same with a `parse` that returns a promise. */
function asynchronous(): Serializer {
  return { parse: async (text) => JSON.parse(text) as SessionData, stringify: JSON.stringify };
}

const serializers: [string, () => Serializer][] = [
  ["JSON", () => JSON],
  ["another serializer", customized],
  ["an asynchronous serializer", asynchronous],
];

function storedWith(serializer: Serializer, text = TEXT, expiresAt: number | undefined = END): StoredSession {
  return new StoredSession(
    serializer,
    "sess:abc",
    text,
    expiresAt === undefined ? expiresAt : monotonic(expiresAt),
  );
}

afterEach(() => void vi.restoreAllMocks());

describe.each(serializers)("copies with %s", (_, serializer) => {
  test("are what stands in Redis", async () => {
    expect(await storedWith(serializer()).copy()).toMatchObject({ cart: { items: [1] } });
  });

  test("share nothing with each other", async () => {
    const stored = storedWith(serializer());
    await stored.parse();
    const first = (await stored.copy()) as Cart;
    first.cart.items.push(2);
    first.cookie.path = "/changed";
    const second = (await stored.copy()) as Cart;
    expect(second).not.toBe(first);
    expect(second.cart.items).toEqual([1]);
    expect(second.cookie.path).toBeUndefined();
  });

  test("asked for at the same moment are each one's own", async () => {
    const stored = storedWith(serializer());
    await stored.parse();
    const copies = await Promise.all([stored.copy(), stored.copy(), stored.copy()]);
    expect(new Set(copies).size).toBe(3);
    for (const copy of copies) expect(copy).toMatchObject({ cart: { items: [1] } });
  });

  test("have the end of the key as their cookie's expires", async () => {
    const stored = storedWith(serializer());
    for (let i = 0; i < 2; i++) {
      expect((await stored.copy())?.cookie.expires).toBe(new Date(END).toISOString());
    }
  });

  test("have the later end once the key is given one", async () => {
    const stored = storedWith(serializer());
    await stored.parse();
    stored.expiresAt = monotonic(END + 1_000);
    for (let i = 0; i < 2; i++) {
      expect((await stored.copy())?.cookie.expires).toBe(new Date(END + 1_000).toISOString());
    }
    expect(stored.expiresAt).toBe(monotonic(END + 1_000));
  });

  test("keep their cookie's expires when the key never expires", async () => {
    const stored = new StoredSession(serializer(), "sess:abc", TEXT, undefined);
    expect((await stored.copy())?.cookie.expires).toBe("2020-01-01T00:00:00.000Z");
  });

  test("keep the type of expires", async () => {
    const copy = await storedWith(serializer(), '{"cookie":{"expires":1}}').copy();
    expect(copy?.cookie.expires).toBe(END);
  });

  test("are null when that is what stands in Redis", async () => {
    expect(await storedWith(serializer(), "null").copy()).toBeNull();
  });

  test("are had of any JSON, a session or not", async () => {
    for (const text of ["5", '"text"', "[]", "{}", '{"cookie":null}']) {
      expect(await storedWith(serializer(), text).copy()).toEqual(JSON.parse(text));
    }
  });

  test("of a text that cannot be parsed fail, naming the key and the cause", async () => {
    const stored = storedWith(serializer(), "{torn");
    for (const attempt of [() => stored.parse(), () => stored.copy(), () => stored.copy()]) {
      const failure = await (async () => attempt())().then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(failure).toBeInstanceOf(SessionStoreError);
      expect(failure).toMatchObject({ code: "ERR_SESSION_CORRUPT", cause: expect.any(SyntaxError) });
      expect((failure as Error).message).toMatch(/^The value of "sess:abc" in Redis is not a session: ./);
    }
    expect(stored.text).toBe("{torn");
  });
});

describe("parsing", () => {
  test("JSON is parsed once for all copies", () => {
    const parse = vi.spyOn(JSON, "parse");
    const stored = storedWith(JSON);
    stored.parse();
    stored.copy();
    stored.copy();
    expect(parse).toHaveBeenCalledTimes(1);
  });

  test("another serializer parses for each copy, and what was parsed already is the first", () => {
    const serializer = customized();
    const stored = storedWith(serializer);
    stored.parse();
    stored.copy();
    expect(serializer.parsed).toBe(1);
    stored.copy();
    stored.copy();
    expect(serializer.parsed).toBe(3);
  });

  test("a synchronous serializer gives its copies at once", () => {
    for (const serializer of [JSON, customized()]) {
      expect(storedWith(serializer).parse()).toBeUndefined();
      expect(storedWith(serializer).copy()).not.toBeInstanceOf(Promise);
    }
  });

  test("an asynchronous serializer is waited for", async () => {
    const stored = storedWith(asynchronous());
    const [parsing, copy] = [stored.parse(), stored.copy()];
    expect([parsing, copy]).toEqual([expect.any(Promise), expect.any(Promise)]);
    await parsing;
    expect(await copy).toMatchObject({ cart: { items: [1] } });
  });

  test("a promise of another kind is taken for one", async () => {
    const thenable = (session: SessionData) => {
      const promise = Promise.resolve(session);
      // biome-ignore lint/suspicious/noThenProperty: an object that is no Promise and can be awaited is the subject
      return { then: promise.then.bind(promise) } as unknown as Promise<SessionData>;
    };
    const parse = (text: string) => thenable(JSON.parse(text) as SessionData);
    expect(await storedWith({ parse, stringify: JSON.stringify }).copy()).toMatchObject({
      cart: { items: [1] },
    });
  });

  test("what a serializer throws that is no error is told in words", () => {
    const parse = () => {
      throw "no key to decrypt with";
    };
    const stored = storedWith({ parse, stringify: JSON.stringify });
    expect(() => stored.copy()).toThrow(
      'The value of "sess:abc" in Redis is not a session: no key to decrypt with',
    );
  });
});

test("it counts two bytes for each character of its key and text", () => {
  expect(new StoredSession(JSON, "key", "text", undefined).bytes).toBe(2 * 7);
});
