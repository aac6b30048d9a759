import type { SessionData } from "express-session";

/** Sessions as applications have them: a user, some flags, a basket; `bytes` of JSON, give or take some. */
export function sessionOf(bytes: number, maxAgeMs: number | null): SessionData {
  const session = {
    cookie: {
      originalMaxAge: maxAgeMs,
      expires: maxAgeMs === null ? null : new Date(Date.now() + maxAgeMs).toISOString(),
      httpOnly: true,
      path: "/",
    },
    user: { id: 48_213, name: "Ada Lovelace", email: "ada@example.com", roles: ["customer", "editor"] },
    csrf: "9d1c0f5e5b7b4f1f8a3c2e6d7b8a9c0d",
    locale: "en-GB",
    views: 0,
    basket: [] as object[],
  };
  for (let i = 0; JSON.stringify(session).length < bytes - 60; i++) {
    session.basket.push({
      sku: `A-${10_000 + i}`,
      title: `Article number ${i}, blue`,
      count: 1 + (i % 3),
      price: { amount: 12.5 + i, currency: "EUR" },
      gift: i % 4 === 0,
    });
  }
  return session as unknown as SessionData;
}

/** An id as express-session makes them: 32 characters. */
export function sidOf(number: number): string {
  return `bench${String(number).padStart(9, "0")}Zk3xQ0vY7Lr2Wd8Uab`;
}
