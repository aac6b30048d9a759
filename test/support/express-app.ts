import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import express, { type Express } from "express";
import session, { type SessionOptions, type Store } from "express-session";
import { onTestFinished } from "vitest";

declare module "express-session" {
  interface SessionData {
    user?: string;
    views?: number;
    [key: string]: unknown;
  }
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  readonly setCookie: string | undefined;
}

/** A browser: it keeps the session's cookie, and talks to any node. */
export class Browser {
  cookie: string | undefined;

  async fetch(app: RunningApp, path: string): Promise<Reply> {
    const response = await fetch(app.url + path, { headers: this.cookie ? { cookie: this.cookie } : {} });
    const [setCookie] = response.headers.getSetCookie();
    if (setCookie !== undefined) this.cookie = setCookie.split(";")[0];
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text), setCookie };
  }
}

export interface RunningApp {
  readonly url: string;
}

/** An Express application with the store, on a free port; errors are answered with 500 and their message. */
export async function startApp(
  store: Store,
  options: Partial<SessionOptions>,
  routes: (app: Express) => void,
): Promise<RunningApp> {
  const app = express();
  app.use(session({ store, secret: "test", resave: false, saveUninitialized: false, ...options }));
  routes(app);
  app.use(
    (error: Error, _request: express.Request, response: express.Response, next: express.NextFunction) => {
      if (response.headersSent) next(error);
      else response.status(500).json({ error: error.message });
    },
  );
  const server = createServer(app);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
