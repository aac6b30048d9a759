import type { Express, Request } from "express";
import type { SessionOptions } from "express-session";
import { expect, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import { directClient, type Node, newSpace, sessionOf, startNode, valuesOf } from "../support/node.ts";

/** Requests that continue only when the test says so: the session is loaded, and then its logout comes first. */
class Gate {
  #arrived = () => {};
  #goOn = () => {};
  readonly arrived = new Promise<void>((resolve) => {
    this.#arrived = resolve;
  });
  readonly #opened = new Promise<void>((resolve) => {
    this.#goOn = resolve;
  });

  pass(): Promise<void> {
    this.#arrived();
    return this.#opened;
  }

  open(): void {
    this.#goOn();
  }
}

function routes(gate: Gate) {
  const sid = (request: Request) => ({ sid: request.sessionID });
  return (app: Express) => {
    app.get("/login", (request, response) => {
      request.session.user = "ann";
      response.json(sid(request));
    });
    app.get("/me", (request, response) => {
      response.json({ user: request.session.user ?? null });
    });
    app.get("/logout", (request, response, next) => {
      request.session.destroy((error) => (error ? next(error) : response.json({})));
    });
    app.get("/slow-change", async (request, response) => {
      await gate.pass();
      request.session.views = 1;
      response.json({});
    });
    app.get("/slow-read", async (_request, response) => {
      await gate.pass();
      response.json({});
    });
    app.get("/slow-save-twice", async (request, response) => {
      await gate.pass();
      request.session.views = 1;
      request.session.save(() => {
        request.session.views = 2;
        request.session.save((error) => response.json({ error: error ?? null }));
      });
    });
    app.get("/slow-login", async (request, response) => {
      request.session.user = "ann";
      await new Promise((resolve) => request.session.save(resolve));
      response.cookie("early", "1");
      await gate.pass();
      request.session.views = 1;
      response.json(sid(request));
    });
  };
}

async function twoNodes(options: Partial<SessionOptions> = {}, store: object = {}) {
  const space = newSpace();
  const gate = new Gate();
  const [a, b] = await Promise.all([startNode(space, { store }), startNode(space, { store })]);
  const settings = { cookie: { maxAge: 60_000 }, ...options };
  const [one, other] = await Promise.all([a, b].map(({ store }) => startApp(store, settings, routes(gate))));
  const direct = await directClient();
  return { space, gate, a, b, one: one as never, other: other as never, direct } as {
    space: ReturnType<typeof newSpace>;
    gate: Gate;
    a: Node;
    b: Node;
    one: Awaited<ReturnType<typeof startApp>>;
    other: Awaited<ReturnType<typeof startApp>>;
    direct: typeof direct;
  };
}

for (const onConflict of ["overwrite", "merge"] as const) {
  for (const path of ["/slow-change", "/slow-save-twice"]) {
    for (const where of ["the same node", "another node"]) {
      test(`${onConflict}, ${path}: a save does not restore what was logged out on ${where}`, async () => {
        const { space, gate, a, one, other, direct } = await twoNodes({}, { onConflict });
        const browser = new Browser();
        await browser.fetch(one, "/login");
        const refused = nextEvent(a.store, "resurrection");
        const slow = browser.fetch(one, path);
        await gate.arrived;
        await browser.fetch(where === "another node" ? other : one, "/logout");
        gate.open();
        const reply = await slow;
        expect(reply.status).toBe(200);
        expect(reply.body).toEqual(path === "/slow-save-twice" ? { error: null } : {});
        const [sid] = await refused;
        expect(typeof sid).toBe("string");
        expect(a.store.clusterStats.resurrections).toBeGreaterThanOrEqual(1);
        expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
        for (const app of [one, other])
          expect((await browser.fetch(app, "/me")).body).toEqual({ user: null });
      });
    }
  }
}

test("resave: true does not restore a session that was logged out meanwhile", async () => {
  const { space, gate, a, one, other, direct } = await twoNodes({ resave: true }, { touchAfterMs: 0 });
  const browser = new Browser();
  await browser.fetch(one, "/login");
  const slow = browser.fetch(one, "/slow-read");
  await gate.arrived;
  await browser.fetch(other, "/logout");
  gate.open();
  expect((await slow).status).toBe(200);
  expect(a.store.clusterStats.resurrections).toBe(1);
  expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
});

test("a touch does not restore a session that was logged out meanwhile, and emits an event", async () => {
  const { space, gate, a, one, other, direct } = await twoNodes({}, { touchAfterMs: 0 });
  const browser = new Browser();
  await browser.fetch(one, "/login");
  const slow = browser.fetch(one, "/slow-read");
  await gate.arrived;
  await browser.fetch(other, "/logout");
  gate.open();
  expect((await slow).status).toBe(200);
  expect(a.store.clusterStats).toMatchObject({ resurrections: 1, failedTouches: 0 });
  expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
});

test("a session that this very request created and saved is not restored either", async () => {
  const { space, gate, a, b, one, direct } = await twoNodes();
  const browser = new Browser();
  const slow = browser.fetch(one, "/slow-login");
  await gate.arrived;
  const [sid] = await a.store.ids();
  await b.store.destroy(String(sid));
  gate.open();
  await slow;
  expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
  expect(a.store.clusterStats.resurrections).toBe(1);
});

test("clear and the session's expiry in Redis count as its destruction", async () => {
  const { space, gate, a, b, one, direct } = await twoNodes();
  const browser = new Browser();
  await browser.fetch(one, "/login");
  const slow = browser.fetch(one, "/slow-change");
  await gate.arrived;
  await b.store.clear();
  gate.open();
  await slow;
  expect(await direct.keys(`${space.prefix}*`)).toEqual([]);
  expect(a.store.clusterStats.resurrections).toBe(1);
});

test("set with a plain object writes whether or not there was one before", async () => {
  const { store } = await startNode(newSpace());
  const plain = sessionOf({ v: 1 });
  await store.set("s", plain);
  await store.destroy("s");
  await store.set("s", plain);
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  const read = await store.get("s");
  await store.destroy("s");
  if (read) await store.set("s", read);
  expect(valuesOf(await store.get("s"))).toEqual({ v: 1 });
  expect(store.clusterStats.resurrections).toBe(0);
});

test("a genid that returns the same id again creates a new session after logout", async () => {
  const { one } = await twoNodes({ genid: () => "always-the-same" });
  const browser = new Browser();
  await browser.fetch(one, "/login");
  await browser.fetch(one, "/logout");
  await browser.fetch(one, "/login");
  expect((await browser.fetch(one, "/me")).body).toEqual({ user: "ann" });
});

test("a refused save caches nothing, and others are notified", async () => {
  const { gate, a, b, one, other } = await twoNodes();
  const browser = new Browser();
  await browser.fetch(one, "/login");
  const slow = browser.fetch(one, "/slow-change");
  await gate.arrived;
  await browser.fetch(other, "/logout");
  gate.open();
  await slow;
  await eventually(() => a.store.localCache.size === 0 && b.store.localCache.size === 0);
});
