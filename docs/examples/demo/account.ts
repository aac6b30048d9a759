import type { ClusteredRedisStore } from "clustered-redis-store";
import { type Request, type RequestHandler, Router } from "express";
import { deviceNamed } from "./device-name.ts";
import { digestOf } from "./digest.ts";
import type { Device, ListedDevice } from "./live/device-views.ts";

declare module "express-session" {
  interface SessionData {
    device?: Device;
  }
}

/** What a session says of where it was begun. */
export function deviceOf(req: Request, node: number): Device {
  return { name: deviceNamed(req.get("user-agent")), node, since: Date.now() };
}

/** What the account page needs: the devices of the visitor's user, and three ways to log them out. */
export function accountRoutes(store: ClusteredRedisStore): Router {
  const account = Router();

  account.get(
    "/devices",
    forUser(async (user, req, res) => {
      const found = await store.sessionsOf(user);
      const devices = found.flatMap(({ sid, session: { device } }): ListedDevice[] =>
        // Only a digest of the id leaves the server: whoever has the id has the session.
        device === undefined ? [] : [{ ...device, digest: digestOf(sid), isThis: sid === req.sessionID }],
      );
      res.json({ user, devices });
    }),
  );

  account.post(
    "/logout-device",
    forUser(async (user, req, res) => {
      // Looked for among the user's own: nobody can log out anybody else.
      const found = (await store.sessionsOf(user)).filter(({ sid }) => digestOf(sid) === req.query["device"]);
      for (const { sid } of found) await store.destroy(sid);
      res.json({ ended: found.length });
    }),
  );

  account.post(
    "/logout-others",
    forUser(async (user, req, res) => {
      res.json({ ended: await store.destroyAllOf(user, { except: req.sessionID }) });
    }),
  );

  account.post(
    "/logout-everywhere",
    forUser(async (user, _req, res) => {
      res.json({ ended: await store.destroyAllOf(user) });
    }),
  );

  return account;
}

type ForUser = (user: string, ...handled: Parameters<RequestHandler>) => Promise<void>;

function forUser(handler: ForUser): RequestHandler {
  return async (req, res, next) => {
    const { visitor } = req.session;
    if (visitor === undefined) res.status(401).json({ user: null, devices: [] });
    else await handler(visitor.user, req, res, next);
  };
}
