import session, { type SessionData } from "express-session";
import { expect, onTestFinished, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import { directClient, newSpace, sessionOf, startNode } from "../support/node.ts";

/** What the guides say of express-session, and a store that meets it: each as it happens. */

/** In begun units of ten seconds: express-session subtracts what has passed since it set the cookie's expiry. */
const tensOfSeconds = ({ cookie }: SessionData) => Math.ceil(Number(cookie.originalMaxAge) / 10_000);

test("cookie.maxAge alone is not stored: it holds for one request, and no cookie is sent", async () => {
  const space = newSpace();
  const direct = await directClient();
  const { store } = await startNode(space, { store: { touchAfterMs: 0 } });
  const app = await startApp(store, { cookie: { maxAge: 60_000 } }, (express) => {
    express.get("/login", (request, response) => {
      request.session.user = "ada";
      response.json({ sid: request.sessionID });
    });
    express.get("/", (request, response) => void response.json(tensOfSeconds(request.session)));
    express.get("/long", (request, response) => {
      request.session.cookie.maxAge = 600_000;
      response.json({});
    });
    express.get("/remember", (request, response) => {
      request.session.cookie.maxAge = 600_000;
      request.session["remember"] = true;
      response.json({});
    });
  });
  const browser = new Browser();
  const { sid } = (await browser.fetch(app, "/login")).body as { sid: string };
  const ttlMs = () => direct.pTTL(space.prefix + sid);
  expect((await browser.fetch(app, "/long")).setCookie).toBeUndefined();
  expect(await ttlMs()).toBeGreaterThan(60_000);
  expect((await browser.fetch(app, "/")).body).toBe(6);
  expect(await ttlMs()).toBeLessThanOrEqual(60_000);
  // With a change of the session beside it, it is.
  expect((await browser.fetch(app, "/remember")).setCookie).toContain("Expires=");
  expect((await browser.fetch(app, "/")).body).toBe(60);
});

test("two session() middlewares on one store: the last one decides about the cookies of both", async () => {
  const { store } = await startNode(newSpace());
  const routes: Parameters<typeof startApp>[2] = (express) => {
    express.get("/", (request, response) => {
      request.session.user = "ada";
      response.json(tensOfSeconds(request.session));
    });
  };
  const shop = await startApp(store, { cookie: { maxAge: 60_000 } }, routes);
  expect((await new Browser().fetch(shop, "/")).body).toBe(6);
  await startApp(store, { cookie: { maxAge: 10_000 } }, routes);
  expect((await new Browser().fetch(shop, "/")).body).toBe(1);
});

test("session() for each request: Node warns of the listeners that each call adds to the store", async () => {
  const { store } = await startNode(newSpace());
  const warnings: Error[] = [];
  const listener = (warning: Error) => warnings.push(warning);
  process.on("warning", listener);
  onTestFinished(() => void process.off("warning", listener));
  for (let i = 0; i < 11; i++) session({ store, secret: "test", resave: false, saveUninitialized: false });
  await eventually(() =>
    warnings.some(({ message }) => message.includes("11 disconnect listeners added to")),
  );
  expect(warnings[0]).toMatchObject({ name: "MaxListenersExceededWarning" });
  expect(warnings[0]?.message).toMatch(/ \[ClusteredRedisStore\]/);
});

test("callbacks get no result from set, touch and destroy: connect-redis before 9 had one", async () => {
  const { store } = await startNode(newSpace());
  const results: unknown[] = [];
  const called = (method: "set" | "touch" | "destroy") =>
    new Promise<void>((resolve) => {
      const callback = (...args: unknown[]) => {
        results.push(args[0], args[1]);
        resolve();
      };
      if (method === "destroy") store.destroy("s", callback);
      else store[method]("s", sessionOf(), callback);
    });
  for (const method of ["set", "touch", "destroy"] as const) await called(method);
  expect(results).toEqual([null, undefined, null, undefined, null, undefined]);
});

test("a prefix that begins with another: the shorter one lists and deletes the sessions of both", async () => {
  const space = newSpace();
  const users = await startNode(space);
  const admins = await startNode({ ...space, prefix: `${space.prefix}admin:` });
  await users.store.set("u", sessionOf());
  await admins.store.set("a", sessionOf());
  expect((await users.store.ids()).toSorted()).toEqual(["admin:a", "u"]);
  expect(await admins.store.ids()).toEqual(["a"]);
  await users.store.clear();
  expect(await admins.store.length()).toBe(0);
});
