import { setTimeout as pause } from "node:timers/promises";
import type { Express, Request } from "express";
import type { SessionData } from "express-session";
import { expect, test } from "vitest";
import { eventually, nextEvent } from "../support/eventually.ts";
import { Browser, startApp } from "../support/express-app.ts";
import { indexBy } from "../support/indexed.ts";
import { directClient, newSpace, sessionOf, startNode } from "../support/node.ts";

const regenerate = (request: Request) =>
  new Promise<void>((resolve, reject) => {
    request.session.regenerate((error) => (error ? reject(error) : resolve()));
  });
const call = (request: Request, method: "save" | "reload") =>
  new Promise<void>((resolve, reject) => {
    request.session[method]((error: unknown) => (error ? reject(error) : resolve()));
  });

/** What a slow request does with its new session. */
const rotations: Record<string, (request: Request) => Promise<void>> = {
  "copies its user": async (request) => {
    const { user } = request.session;
    await regenerate(request);
    request.session.user = user as string;
  },
  "saves, then copies its user": async (request) => {
    const { user } = request.session;
    await regenerate(request);
    await call(request, "save");
    request.session.user = user as string;
  },
  "saves and reloads, then copies its user": async (request) => {
    const { user } = request.session;
    await regenerate(request);
    await call(request, "save");
    await call(request, "reload");
    request.session.user = user as string;
  },
  "copies its user to the second of two new sessions": async (request) => {
    const { user } = request.session;
    await regenerate(request);
    await regenerate(request);
    request.session.user = user as string;
  },
  "changes its session, then copies its user": async (request) => {
    const { user } = request.session;
    delete request.session.user;
    await regenerate(request);
    request.session.user = user as string;
  },
};

/** Two processes; requests to `/slow/…` wait until the test opens the gate. */
async function twoNodes(store: object) {
  const space = newSpace();
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  let waiting = 0;
  const routes = (app: Express) => {
    app.get("/visit", (request, response) => {
      request.session.views = 1;
      response.json({});
    });
    app.get("/login", (request, response) => {
      request.session.user = "ann";
      response.json({});
    });
    app.get("/me", (request, response) => {
      response.json({ user: request.session.user ?? null });
    });
    app.get("/logout", (request, response, next) => {
      request.session.destroy((error) => (error ? next(error) : response.json({})));
    });
    app.get("/slow/login", async (request, response) => {
      waiting++;
      await gate;
      await regenerate(request);
      request.session.user = "ann";
      response.json({});
    });
    app.get("/slow/rotate/:how", async (request, response) => {
      waiting++;
      await gate;
      await rotations[request.params.how as string]?.(request);
      response.json({});
    });
  };
  const [a, b] = [await startNode(space, { store }), await startNode(space, { store })];
  const settings = { cookie: { maxAge: 60_000 } };
  const [one, other] = [await startApp(a.store, settings, routes), await startApp(b.store, settings, routes)];
  const direct = await directClient();
  const users = async () => {
    const keys = await direct.keys(`${space.prefix}*`);
    const texts = await Promise.all(keys.map((key) => direct.get(key)));
    return texts.map((text) => JSON.parse(String(text)).user ?? null);
  };
  return {
    a,
    b,
    one,
    other,
    open: () => open(),
    arrived: (n: number) => eventually(() => waiting >= n),
    users,
  };
}

for (const how of Object.keys(rotations)) {
  for (const end of ["logout", "ban"]) {
    test(`with indexBy: a request that ${how} after a ${end} elsewhere stays without it`, async () => {
      const { a, b, one, other, open, arrived, users } = await twoNodes({ indexBy });
      const browser = new Browser();
      await browser.fetch(one, "/login");
      const refused = nextEvent(a.store, "resurrection");
      const slow = browser.fetch(one, `/slow/rotate/${encodeURIComponent(how)}`);
      await arrived(1);
      if (end === "logout") await browser.fetch(other, "/logout");
      else expect(await b.store.destroyAllOf("ann")).toBe(1);
      open();
      expect((await slow).status).toBe(200);
      await refused;
      expect(await users()).not.toContain("ann");
      expect(await b.store.countOf("ann")).toBe(0);
      expect(a.store.clusterStats.resurrections).toBeGreaterThanOrEqual(1);
      for (const app of [one, other]) expect((await browser.fetch(app, "/me")).body).toEqual({ user: null });
    });
  }
}

for (const [name, store] of [
  ["with indexBy", { indexBy }],
  ["without indexBy", {}],
] as const) {
  test(`${name}: a session that nobody else deletes is regenerated, with its user`, async () => {
    const { a, one, other, open, users } = await twoNodes(store);
    const browser = new Browser();
    await browser.fetch(one, "/login");
    a.store.on("resurrection", () => expect.unreachable());
    open();
    await browser.fetch(one, "/slow/rotate/copies%20its%20user");
    expect(await users()).toEqual(["ann"]);
    expect((await browser.fetch(other, "/me")).body).toEqual({ user: "ann" });
    expect(a.store.clusterStats.resurrections).toBe(0);
  });

  test(`${name}: two parallel logins of one browser both succeed`, async () => {
    const { a, b, one, other, open, arrived, users } = await twoNodes(store);
    const browser = new Browser();
    await browser.fetch(one, "/visit");
    const [first, second] = [new Browser(), new Browser()];
    first.cookie = second.cookie = browser.cookie;
    const logins = [first.fetch(one, "/slow/login"), second.fetch(other, "/slow/login")];
    await arrived(2);
    open();
    await Promise.all(logins);
    for (const each of [first, second]) {
      expect((await each.fetch(one, "/me")).body).toEqual({ user: "ann" });
      expect((await each.fetch(other, "/me")).body).toEqual({ user: "ann" });
    }
    expect(await users()).toEqual(["ann", "ann"]);
    expect(a.store.clusterStats.resurrections + b.store.clusterStats.resurrections).toBe(0);
  });
}

test("without indexBy the new session is written, and an application that listens can destroy it", async () => {
  const { a, one, other, open, arrived, users } = await twoNodes({});
  const browser = new Browser();
  await browser.fetch(one, "/login");
  const ended = new Promise<string>((resolve, reject) => {
    a.store.once("resurrection", (sid: string) => {
      a.store.destroy(sid).then(() => resolve(sid), reject);
    });
  });
  const slow = browser.fetch(one, "/slow/rotate/copies%20its%20user");
  await arrived(1);
  await browser.fetch(other, "/logout");
  open();
  const { status } = await slow;
  expect(status).toBe(200);
  expect(browser.cookie).toContain(await ended);
  expect(await users()).toEqual([]);
  // Nothing was refused.
  expect(a.store.clusterStats.resurrections).toBe(0);
});

test("regenerate calls a destroy that the application has overridden, and reports its error", async () => {
  const { a, one } = await twoNodes({ indexBy });
  const browser = new Browser();
  await browser.fetch(one, "/login");
  const original = a.store.destroy.bind(a.store) as (sid: string, callback: (error: unknown) => void) => void;
  let destroyed = 0;
  Object.assign(a.store, {
    destroy: (sid: string, callback: (error: unknown) => void) => {
      destroyed++;
      original(sid, () => callback(new Error("audit failed")));
    },
  });
  const request = { sessionID: "s", session: undefined } as unknown as Request;
  const [error] = await new Promise<unknown[]>((resolve) => {
    a.store.regenerate(request, (...args: unknown[]) => resolve(args));
  });
  expect(error).toMatchObject({ message: "audit failed" });
  expect(destroyed).toBe(1);
  expect(request.sessionID).not.toBe("s");
});

test("with indexBy: while it cannot be determined whose session was deleted, the save of the new one fails", async () => {
  const space = newSpace();
  let isStuck = false;
  const parse = (text: string) =>
    isStuck ? new Promise<never>(() => {}) : Promise.resolve(JSON.parse(text));
  const serializer = { parse, stringify: JSON.stringify };
  const store = { indexBy, serializer, commandTimeoutMs: 1_500 };
  const [a, b] = [await startNode(space, { store }), await startNode(space)];
  await a.store.set("s", sessionOf({ user: "ann" }));
  const request = { sessionID: "s" } as unknown as Request;
  request.session = a.store.createSession(request, (await a.store.get("s")) as SessionData) as never;
  Object.assign(a.store, {
    generate: (request: Request) => {
      request.sessionID = "new";
      request.session = sessionOf({ user: "ann" }) as never;
    },
  });
  await b.store.destroy("s");
  isStuck = true;
  await new Promise((resolve) => a.store.regenerate(request, resolve));
  // The request goes on for longer than the store tries to find out.
  await pause(2_000);
  await expect(a.store.set("new", request.session)).rejects.toMatchObject({ code: "ERR_SESSION_TIMEOUT" });
  const direct = await directClient();
  expect(await direct.exists(`${space.prefix}new`)).toBe(0);
});
