import type { Express } from "express";
import type { SessionOptions } from "express-session";
import { describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import { directClient, isOfDestroy, newSpace, startNode, watchCommands } from "../support/node.ts";

/** The contract with express-session's middleware, over HTTP, on two nodes. */
function routes(app: Express): void {
  app.get("/login/:user", (request, response, next) => {
    request.session.regenerate((error) => {
      if (error) return next(error);
      request.session.user = request.params.user;
      response.json({ user: request.session.user });
    });
  });
  app.get("/me", (request, response) => {
    response.json({ user: request.session.user ?? null });
  });
  app.get("/count", (request, response) => {
    request.session.views = (request.session.views ?? 0) + 1;
    response.json({ views: request.session.views });
  });
  app.get("/save", (request, response, next) => {
    request.session.views = (request.session.views ?? 0) + 1;
    request.session.save((error) => (error ? next(error) : response.json({ views: request.session.views })));
  });
  app.get("/save-and-redirect", (request, response) => {
    request.session.user = "redirected";
    request.session.save(() => response.redirect("/me"));
  });
  app.get("/reload", (request, response, next) => {
    request.session.user = "nobody";
    request.session.reload((error) => (error ? next(error) : response.json({ user: request.session.user })));
  });
  app.get("/logout", (request, response, next) => {
    request.session.destroy((error) => (error ? next(error) : response.json({})));
  });
  app.get("/logout-without-callback", (request, response) => {
    // The types ask for a callback; express-session does not.
    (request.session.destroy as unknown as () => void).call(request.session);
    response.json({});
  });
  app.get("/unset", (request, response) => {
    (request as { session: unknown }).session = null;
    response.json({});
  });
}

async function twoApps(localCache: boolean, options: Partial<SessionOptions> = {}) {
  const space = newSpace();
  const a = await startNode(space, { store: { localCache } });
  const b = await startNode(space, { store: { localCache } });
  const settings = { cookie: { maxAge: 60_000 }, ...options };
  const apps = await Promise.all([a, b].map(({ store }) => startApp(store, settings, routes)));
  const [one, other] = apps as [(typeof apps)[0], (typeof apps)[0]];
  return { space, a, b, one, other };
}

/** So long that no touch is due while a test runs, however slow the machine is. */
const A_DAY = { cookie: { maxAge: 86_400_000 } };

for (const localCache of [true, false]) {
  describe(`express-session with the local cache ${localCache ? "on" : "off"}`, () => {
    test("who logs in on one node is known on the other, and logged out on both", async () => {
      const { a, b, one, other } = await twoApps(localCache);
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      expect((await browser.fetch(other, "/me")).body).toEqual({ user: "ann" });
      expect((await browser.fetch(one, "/me")).body).toEqual({ user: "ann" });
      await browser.fetch(other, "/logout");
      await eventually(() => a.store.localCache.size + b.store.localCache.size === 0);
      expect((await browser.fetch(one, "/me")).body).toEqual({ user: null });
      expect((await browser.fetch(other, "/me")).body).toEqual({ user: null });
    });

    test("changes made on alternating nodes add up", async () => {
      const { a, b, one, other } = await twoApps(localCache);
      const browser = new Browser();
      for (let views = 1; views <= 10; views++) {
        expect((await browser.fetch(views % 2 ? one : other, "/count")).body).toEqual({ views });
        const [writer, reader] = views % 2 ? [a, b] : [b, a];
        if (!localCache) continue;
        await eventually(() => reader.store.clusterStats.invalidations === Math.floor(views / 2));
        expect(writer.store.clusterStats.messagesPublished).toBe(Math.ceil(views / 2));
      }
    });

    test("save, reload and regenerate work as the middleware documents them", async () => {
      const { one } = await twoApps(localCache);
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      const before = browser.cookie;
      expect((await browser.fetch(one, "/save")).body).toEqual({ views: 1 });
      expect((await browser.fetch(one, "/save")).body).toEqual({ views: 2 });
      expect((await browser.fetch(one, "/reload")).body).toEqual({ user: "ann" });
      await browser.fetch(one, "/login/bob");
      expect(browser.cookie).not.toBe(before);
      expect((await browser.fetch(one, "/me")).body).toEqual({ user: "bob" });
      const old = new Browser();
      old.cookie = before;
      expect((await old.fetch(one, "/me")).body).toEqual({ user: null });
    });

    test("what is saved before a redirect is there for the request that follows it", async () => {
      const { one } = await twoApps(localCache);
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      expect((await browser.fetch(one, "/save-and-redirect")).body).toEqual({ user: "redirected" });
    });

    test("destroy without a callback destroys", async () => {
      const { space, one } = await twoApps(localCache);
      const direct = await directClient();
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      await browser.fetch(one, "/logout-without-callback");
      await eventually(async () => (await direct.keys(`${space.prefix}*`)).length === 0);
    });

    test('unset: "destroy" deletes the session', async () => {
      const { space, one } = await twoApps(localCache, { unset: "destroy" });
      const direct = await directClient();
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      await browser.fetch(one, "/unset");
      expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
    });

    test("rolling, resave, saveUninitialized and a custom genid work", async () => {
      let ids = 0;
      const { space, one, other } = await twoApps(localCache, {
        rolling: true,
        resave: true,
        saveUninitialized: true,
        genid: () => `mine-${++ids}`,
      });
      const direct = await directClient();
      const browser = new Browser();
      const first = await browser.fetch(one, "/me");
      expect(first.setCookie).toContain("mine-1");
      expect(await direct.keys(`${space.prefix}*`)).toEqual([`${space.prefix}mine-1`]);
      const second = await browser.fetch(other, "/me");
      expect(second.setCookie).toContain("mine-1");
    });

    test("a session without maxAge lives for the store's ttl", async () => {
      const { space, one } = await twoApps(localCache, { cookie: {} });
      const direct = await directClient();
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      const [key] = await direct.keys(`${space.prefix}*`);
      expect(await direct.ttl(String(key))).toBeGreaterThan(86_000);
      expect((await browser.fetch(one, "/me")).body).toEqual({ user: "ann" });
    });

    test("a store whose Redis fails answers with an error, never with somebody else's session or none", async () => {
      const { a, one } = await twoApps(localCache);
      const browser = new Browser();
      await browser.fetch(one, "/login/ann");
      for (const sid of await a.store.ids()) a.store.evictFromCache(sid);
      a.client.destroy();
      const { status, body } = await browser.fetch(one, "/me");
      expect(status).toBe(500);
      expect(body).toMatchObject({ error: expect.stringContaining("GETRANGE") });
    });
  });
}

test("a request that only reads sends nothing to Redis once the session is in memory", async () => {
  const { space, one, other } = await twoApps(true, A_DAY);
  const browser = new Browser();
  await browser.fetch(one, "/login/ann");
  await browser.fetch(other, "/me");
  const commands = await watchCommands(space);
  for (let i = 0; i < 20; i++) {
    for (const app of [one, other]) expect((await browser.fetch(app, "/me")).body).toEqual({ user: "ann" });
  }
  await browser.fetch(one, "/logout");
  await eventually(() => commands.includes("DEL"));
  expect(commands.filter((command) => !isOfDestroy(command))).toEqual([]);
});

test("resave: true, too, sends nothing to Redis for a request that only reads", async () => {
  const { space, one } = await twoApps(true, { ...A_DAY, resave: true });
  const browser = new Browser();
  await browser.fetch(one, "/login/ann");
  const commands = await watchCommands(space);
  for (let i = 0; i < 20; i++) expect((await browser.fetch(one, "/me")).body).toEqual({ user: "ann" });
  await browser.fetch(one, "/logout");
  await eventually(() => commands.includes("DEL"));
  expect(commands.filter((command) => !isOfDestroy(command))).toEqual([]);
});
