import type { SessionData } from "express-session";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { alignExpires, lifetimeMs, touchWindowMs } from "../../lib/sessions/lifetime.ts";

const NOW = 1_700_000_000_000;

function sessionOf(expires: unknown, originalMaxAge: unknown = null): SessionData {
  return { cookie: { expires, originalMaxAge } } as unknown as SessionData;
}

describe("how long a session is to live", () => {
  test.each([
    ["a Date", new Date(NOW + 5_000)],
    ["a string of toISOString", new Date(NOW + 5_000).toISOString()],
    ["a string of toUTCString", new Date(NOW + 5_000).toUTCString()],
    ["a number", NOW + 5_000],
  ])("is decided by the cookie's expires, as %s", (_, expires) => {
    expect(lifetimeMs(sessionOf(expires), 60, NOW)).toBe(5_000);
  });

  test.each([[null], [undefined], [false]])(
    "is decided by the ttl in seconds when expires is %s",
    (expires) => {
      expect(lifetimeMs(sessionOf(expires), 60, NOW)).toBe(60_000);
    },
  );

  test.each([{}, { cookie: undefined }, { cookie: null }])(
    "is decided by the ttl when the session is %j",
    (session) => {
      expect(lifetimeMs(session as unknown as SessionData, 60, NOW)).toBe(60_000);
    },
  );

  test("is decided by a ttl function alone, which is given the session", () => {
    const session = sessionOf(new Date(NOW + 5_000));
    expect(lifetimeMs(session, (given) => (given === session ? 7 : 8), NOW)).toBe(7_000);
  });

  test("is kept to the millisecond: 5 ms are 5 ms", () => {
    expect(lifetimeMs(sessionOf(null), 0.005, NOW)).toBe(5);
    expect(lifetimeMs(sessionOf(null), () => 0.005, NOW)).toBe(5);
    expect(lifetimeMs(sessionOf(new Date(NOW + 5)), 60, NOW)).toBe(5);
  });

  test("is exact where floating-point numbers of seconds are not", () => {
    for (const ms of [1_001, 2_007, 2_011, 4_030, 8_041]) {
      expect(lifetimeMs(sessionOf(null), ms / 1_000, NOW)).toBe(ms);
      expect(lifetimeMs(sessionOf(null), () => ms / 1_000, NOW)).toBe(ms);
    }
  });

  test("is a whole number of milliseconds, and a fraction of the first does not delete", () => {
    expect(lifetimeMs(sessionOf(null), 0.0001, NOW)).toBe(1);
    expect(lifetimeMs(sessionOf(null), () => 0.0004, NOW)).toBe(1);
    expect(lifetimeMs(sessionOf(null), 1.00025, NOW)).toBe(1_001);
  });

  test.each([0, -1, -0.0001])("is over when a ttl function returns %d", (seconds) => {
    expect(lifetimeMs(sessionOf(null), () => seconds, NOW)).toBeLessThanOrEqual(0);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, "60", undefined, null, new Date(NOW)])(
    "is not guessed when a ttl function returns %s",
    (seconds) => {
      const ask = () => lifetimeMs(sessionOf(null), (() => seconds) as unknown as () => number, NOW);
      expect(ask).toThrow(TypeError);
      expect(ask).toThrow(/^ttl: the function must return a number of seconds, got /);
    },
  );

  test.each(["soon", new Date("soon"), {}, true])("is not guessed when expires is %s", (expires) => {
    const ask = () => lifetimeMs(sessionOf(expires), 60, NOW);
    if (expires === true) return expect(ask()).toBeLessThanOrEqual(0);
    expect(ask).toThrow(TypeError);
    expect(ask).toThrow(/^session\.cookie\.expires: expected a date, got /);
    return undefined;
  });
});

describe("an expires in the past", () => {
  test.each([NOW, NOW - 1, NOW - 1_000_000])(
    "has only become old when originalMaxAge is positive",
    (expires) => {
      expect(lifetimeMs(sessionOf(new Date(expires), 20_000), 60, NOW)).toBe(20_000);
    },
  );

  test("has only become old in the form of a string, too", () => {
    expect(lifetimeMs(sessionOf(new Date(NOW - 1).toISOString(), 20_000), 60, NOW)).toBe(20_000);
  });

  test("gives the originalMaxAge as whole milliseconds", () => {
    expect(lifetimeMs(sessionOf(new Date(NOW - 1), 0.5), 60, NOW)).toBe(1);
  });

  test.each([0, -1, null, undefined, "20000", Number.NaN])(
    "is the wish to delete when originalMaxAge is %s",
    (maxAge) => {
      const session = { cookie: { expires: new Date(NOW - 5), originalMaxAge: maxAge } };
      expect(lifetimeMs(session as unknown as SessionData, 60, NOW)).toBe(-5);
    },
  );

  test("is ignored by a ttl function", () => {
    expect(lifetimeMs(sessionOf(new Date(NOW - 5), 20_000), () => 0, NOW)).toBeLessThanOrEqual(0);
  });

  test("does not make originalMaxAge count while expires lies ahead", () => {
    expect(lifetimeMs(sessionOf(new Date(NOW + 1), 20_000), 60, NOW)).toBe(1);
  });
});

describe("aligning expires with the key's expiry", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "Date"], now: NOW }));
  afterEach(() => void vi.useRealTimers());

  const end = NOW + 123;
  /** A time of the wall clock, by performance.now(). */
  const monotonic = (time: number) => time - Date.now() + performance.now();

  test.each([
    ["a string", new Date(NOW).toISOString(), new Date(end).toISOString()],
    ["a number", NOW, end],
    ["a Date", new Date(NOW), new Date(end)],
  ])("keeps %s what it is", (_, expires, expected) => {
    const session = sessionOf(expires);
    alignExpires(session, monotonic(end));
    expect(session.cookie.expires).toEqual(expected);
  });

  test.each([[null], [undefined], [false]])("keeps an expires of %s", (expires) => {
    const session = sessionOf(expires);
    alignExpires(session, monotonic(end));
    expect(session).toEqual(sessionOf(expires));
  });

  test("does not change a Date that others may refer to", () => {
    const expires = new Date(NOW);
    alignExpires(sessionOf(expires), monotonic(end));
    expect(expires.getTime()).toBe(NOW);
  });

  test("keeps the cookie of a session that never expires", () => {
    const session = sessionOf(NOW);
    alignExpires(session, undefined);
    expect(session.cookie.expires).toBe(NOW);
  });

  test.each([[null], [undefined], [5], ["text"], [{}], [{ cookie: null }], [{ cookie: 5 }]])(
    "ignores %j, which has no cookie",
    (session) => {
      const before = JSON.stringify(session);
      alignExpires(session, monotonic(end));
      expect(JSON.stringify(session)).toBe(before);
    },
  );

  test("keeps an expires when the key's expiry is later than a Date can represent", () => {
    for (const expires of [new Date(NOW).toISOString(), NOW, new Date(NOW)]) {
      const session = sessionOf(expires);
      alignExpires(session, monotonic(8.64e15 + 1));
      expect(session.cookie.expires).toEqual(expires);
    }
  });

  test("changes nothing else of the cookie", () => {
    const session = { cookie: { expires: NOW, originalMaxAge: 7, path: "/" }, user: "u" };
    alignExpires(session, monotonic(end));
    expect(session).toEqual({ cookie: { expires: end, originalMaxAge: 7, path: "/" }, user: "u" });
  });
});

describe("the touch window", () => {
  test("is a hundredth of the session's life", () => {
    expect([touchWindowMs(5), touchWindowMs(10_000)]).toEqual([0.05, 100]);
  });

  test("is what the option says, and at most half of the session's life: one in use does not end", () => {
    expect([0, 5_000, 30_000, 86_400_000].map((ms) => touchWindowMs(60_000, ms))).toEqual([
      0, 5_000, 30_000, 30_000,
    ]);
  });

  test("is a minute at most", () => {
    expect([touchWindowMs(5_999_900), touchWindowMs(6_000_000), touchWindowMs(86_400_000)]).toEqual([
      59_999, 60_000, 60_000,
    ]);
  });
});
