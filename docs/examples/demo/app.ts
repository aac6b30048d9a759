import type { ClusteredRedisStore } from "clustered-redis-store";
import express, { type ErrorRequestHandler, type Express, type Request } from "express";
import session from "express-session";
import { accountRoutes, deviceOf } from "./account.ts";
import { measured, type Observer } from "./measured.ts";

/** What a session says of whose it is. */
interface Visitor {
  readonly user: string;
  readonly theme: string | null;
}

declare module "express-session" {
  interface SessionData {
    visitor?: Visitor;
  }
}

/** Long enough that no touch of the session, which is due after 1 % of this, falls into the script. */
const ONE_HOUR_MS = 3_600_000;
const NOBODY = { user: null, theme: null } as const;

/** An application like any other: the store is one option of express-session, and only the account knows of it. */
export function createApp(
  node: number,
  store: ClusteredRedisStore,
  secret: string,
  observe: Observer,
): Express {
  const app = express().disable("x-powered-by").disable("etag");

  // Before the session middleware: asking for the numbers must not change them.
  app.get("/stats", (req, res) => {
    const { cacheStats, clusterStats } = store;
    res.set("x-demo-node", String(node));
    res.json({ pid: process.pid, port: req.socket.localPort, cacheStats, clusterStats });
  });

  app.use(measured(node, store, observe));
  app.use(
    session({
      store,
      secret,
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: ONE_HOUR_MS, sameSite: "lax" },
    }),
  );

  app.post("/login", (req, res, next) => {
    const visitor: Visitor = { user: named(req, "user") ?? "somebody", theme: null };
    // A new id for who is now somebody: one that was planted before the login is worth nothing after it.
    req.session.regenerate((error: unknown) => {
      if (error) return next(error);
      req.session.visitor = visitor;
      req.session.device = deviceOf(req, node);
      res.json(visitor);
    });
  });

  app.get("/me", (req, res) => {
    const { visitor } = req.session;
    res.status(visitor ? 200 : 401).json(visitor ?? NOBODY);
  });

  app.post("/theme", (req, res, next) => {
    const { visitor } = req.session;
    if (!visitor) return void res.status(401).json(NOBODY);
    const changed: Visitor = { ...visitor, theme: named(req, "name") ?? null };
    req.session.visitor = changed;
    // Left to itself, express-session saves at the end of the answer, when it is too late to say that it failed.
    req.session.save((error: unknown) => {
      if (error) return next(error);
      res.json(changed);
    });
  });

  // Not followed by clearCookie: the page goes on sending the cookie, to show that it is worth nothing any more.
  app.post("/logout", (req, res, next) => {
    req.session.destroy((error: unknown) => {
      if (error) return next(error);
      res.json(NOBODY);
    });
  });

  app.use(accountRoutes(store));

  app.use(((error, _req, res, next) => {
    if (res.headersSent) return next(error);
    // Also for the page, which shows why.
    res.locals["failure"] = error instanceof Error ? error.message : String(error);
    res.status(503).json({ error: res.locals["failure"] });
  }) satisfies ErrorRequestHandler);

  return app;
}

function named(req: Request, parameter: string): string | undefined {
  const value = req.query[parameter];
  return typeof value === "string" && value !== "" ? value : undefined;
}
