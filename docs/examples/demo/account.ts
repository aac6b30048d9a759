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
      const devices = found.flatMap(({ sid, publicId, session: { device } }): ListedDevice[] => {
        // The id does not leave the server: whoever has it has the session.
        const ids = { publicId, digest: digestOf(sid), isThis: sid === req.sessionID };
        return device === undefined ? [] : [{ ...device, ...ids }];
      });
      res.json({ user, devices });
    }),
  );

  account.post(
    "/logout-device",
    forUser(async (user, req, res) => {
      // Among the user's own: nobody can log out anybody else.
      const isEnded = await store.destroyOf(user, String(req.query["device"]));
      res.json({ ended: isEnded ? 1 : 0 });
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
