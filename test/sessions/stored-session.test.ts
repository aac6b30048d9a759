import { inspect } from "node:util";
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
  const format = { serializer, prefix: "sess:" };
  return new StoredSession(format, text, expiresAt === undefined ? expiresAt : monotonic(expiresAt));
}

afterEach(() => void vi.restoreAllMocks());

describe.each(serializers)("copies with %s", (_, serializer) => {
  test("are what stands in Redis", async () => {
    expect(await storedWith(serializer()).copy("abc")).toMatchObject({ cart: { items: [1] } });
  });

  test("share nothing with each other", async () => {
    const stored = storedWith(serializer());
    await stored.parse("abc");
    const first = (await stored.copy("abc")) as Cart;
    first.cart.items.push(2);
    first.cookie.path = "/changed";
    const second = (await stored.copy("abc")) as Cart;
    expect(second).not.toBe(first);
    expect(second.cart.items).toEqual([1]);
    expect(second.cookie.path).toBeUndefined();
  });

  test("requested at the same moment are separate", async () => {
    const stored = storedWith(serializer());
    await stored.parse("abc");
    const copies = await Promise.all([stored.copy("abc"), stored.copy("abc"), stored.copy("abc")]);
    expect(new Set(copies).size).toBe(3);
    for (const copy of copies) expect(copy).toMatchObject({ cart: { items: [1] } });
  });

  test("have the expiry of the key as their cookie's expires", async () => {
    const stored = storedWith(serializer());
    for (let i = 0; i < 2; i++) {
      expect((await stored.copy("abc"))?.cookie.expires).toBe(new Date(END).toISOString());
    }
  });

  test("have the later expiry once the key has one", async () => {
    const stored = storedWith(serializer());
    await stored.parse("abc");
    stored.expiresAt = monotonic(END + 1_000);
    for (let i = 0; i < 2; i++) {
      expect((await stored.copy("abc"))?.cookie.expires).toBe(new Date(END + 1_000).toISOString());
    }
    expect(stored.expiresAt).toBe(monotonic(END + 1_000));
  });

  test("keep their cookie's expires when the key never expires", async () => {
    const stored = new StoredSession({ serializer: serializer(), prefix: "sess:" }, TEXT, undefined);
    expect((await stored.copy("abc"))?.cookie.expires).toBe("2020-01-01T00:00:00.000Z");
  });

  test("keep the type of expires", async () => {
    const copy = await storedWith(serializer(), '{"cookie":{"expires":1}}').copy("abc");
    expect(copy?.cookie.expires).toBe(END);
  });

  test("are made of any object, with or without a cookie", async () => {
    for (const text of ["{}", '{"cookie":null}', '{"cookie":5}', '{"user":"ann"}']) {
      expect(await storedWith(serializer(), text).copy("abc")).toEqual(JSON.parse(text));
    }
  });

  test.each(["null", "5", '"secret"', "[]", "true"])("of %s fail: it is no session", async (text) => {
    const failure = await failureOf(() => storedWith(serializer(), text).copy("abc"));
    expect(failure).toMatchObject({ code: "ERR_SESSION_CORRUPT", key: "sess:abc" });
    expect(inspect(failure)).toMatch(/^SessionStoreError: The value of session [0-9a-f]{16} in Redis/);
    expect(inspect(failure)).not.toMatch(/abc|secret/);
  });

  test("of a text that cannot be parsed fail, and show neither the id nor the text", async () => {
    const stored = storedWith(serializer(), '{"secret":torn');
    for (const attempt of [() => stored.parse("abc"), () => stored.copy("abc"), () => stored.copy("abc")]) {
      const failure = await failureOf(attempt);
      expect(failure).toBeInstanceOf(SessionStoreError);
      expect(failure).toMatchObject({
        code: "ERR_SESSION_CORRUPT",
        key: "sess:abc",
        serializerError: expect.any(SyntaxError),
      });
      expect((failure as Error).message).toMatch(
        /^The value of session [0-9a-f]{16} in Redis is not a session: invalid JSON( at position \d+)?$/,
      );
      expect(inspect(failure)).not.toMatch(/sess:abc|secret|torn/);
      expect(Object.keys(failure as object)).toEqual(["name", "code"]);
    }
    expect(stored.text).toBe('{"secret":torn');
  });
});

async function failureOf(attempt: () => unknown): Promise<unknown> {
  try {
    await attempt();
  } catch (error) {
    return error;
  }
  return undefined;
}

test.each([
  ["arrays", (depth: number) => `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`],
  ["objects", (depth: number) => `${'{"a":'.repeat(depth)}{}${"}".repeat(depth)}`],
])("%s nested too deeply to copy are no session", (_, nest) => {
  expect(storedWith(JSON, nest(999)).copy("abc")).toEqual(JSON.parse(nest(999)));
  for (const depth of [1_000, 100_000]) {
    expect(() => storedWith(JSON, nest(depth)).copy("abc")).toThrow(
      expect.objectContaining({ code: "ERR_SESSION_CORRUPT", key: "sess:abc" }),
    );
  }
});

describe("parsing", () => {
  test("JSON is parsed for the first copy, and once for all others", () => {
    const parse = vi.spyOn(JSON, "parse");
    const stored = storedWith(JSON);
    stored.parse("abc");
    stored.copy("abc");
    expect(parse).toHaveBeenCalledTimes(1);
    for (let i = 0; i < 3; i++) stored.copy("abc");
    expect(parse).toHaveBeenCalledTimes(2);
  });

  test("another serializer parses for each copy, and what was parsed already is the first", () => {
    const serializer = customized();
    const stored = storedWith(serializer);
    stored.parse("abc");
    stored.copy("abc");
    expect(serializer.parsed).toBe(1);
    stored.copy("abc");
    stored.copy("abc");
    expect(serializer.parsed).toBe(3);
  });

  test("a synchronous serializer gives its copies at once", () => {
    for (const serializer of [JSON, customized()]) {
      expect(storedWith(serializer).parse("abc")).toBeUndefined();
      expect(storedWith(serializer).copy("abc")).not.toBeInstanceOf(Promise);
    }
  });

  test("an asynchronous serializer is waited for", async () => {
    const stored = storedWith(asynchronous());
    const [parsing, copy] = [stored.parse("abc"), stored.copy("abc")];
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
    expect(await storedWith({ parse, stringify: JSON.stringify }).copy("abc")).toMatchObject({
      cart: { items: [1] },
    });
  });

  test("of what a serializer throws only the kind is shown", () => {
    for (const [thrown, shown] of [
      ["the secret", "the serializer threw a string"],
      [
        Object.assign(new RangeError("the secret"), { code: "ENOKEY" }),
        "the serializer threw RangeError ENOKEY",
      ],
    ] as const) {
      const parse = () => {
        throw thrown;
      };
      const stored = storedWith({ parse, stringify: JSON.stringify });
      expect(() => stored.copy("abc")).toThrow(
        expect.objectContaining({ message: expect.stringContaining(shown), serializerError: thrown }),
      );
    }
  });
});

test("it counts its text, and with JSON what was parsed, once a second copy was made", () => {
  const stored = storedWith(JSON);
  const before = stored.bytes;
  stored.copy("abc");
  expect(stored.bytes).toBe(before);
  stored.copy("abc");
  const after = stored.bytes;
  expect(after).toBeGreaterThan(before);
  stored.copy("abc");
  expect(stored.bytes).toBe(after);
  const another = storedWith(customized());
  another.parse("abc");
  expect(another.bytes).toBe(before);
});

describe("sessions whose keys hardly repeat", () => {
  const manyKeys = (begin: number) =>
    JSON.stringify({
      cookie: {},
      ...Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${begin + i}`, 1])),
    });

  test("are kept as text beyond a limit, and copies share nothing", () => {
    const sessions = Array.from({ length: 100 }, (_, i) => storedWith(JSON, manyKeys(100 * i)));
    const texts = sessions.filter((stored) => {
      const before = stored.bytes;
      stored.copy("abc");
      stored.copy("abc");
      return stored.bytes === before;
    });
    expect(texts.length).toBeGreaterThan(50);
    const [stored] = texts as [StoredSession];
    const first = stored.copy("abc") as SessionData;
    first.cookie.path = "/changed";
    expect(stored.copy("abc")).toEqual(JSON.parse(stored.text));
  });

  test("may still not be nested too deeply", () => {
    const deep = `{"a":${"[".repeat(1_000)}${"]".repeat(1_000)},${manyKeys(1_000_000).slice(1)}`;
    for (const text of [deep, `{${manyKeys(2_000_000).slice(1, -1)},${deep.slice(1)}`]) {
      expect(() => storedWith(JSON, text).copy("abc")).toThrow(
        expect.objectContaining({ code: "ERR_SESSION_CORRUPT" }),
      );
    }
  });
});
