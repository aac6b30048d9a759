import { importFromRegistry } from "./registry-package.ts";

/** No dependency: it runs on Node 20, but says that it needs Node 22, and so each `npm ci` would end with a warning. */
export const { RedisStore: ConnectRedis10 } = await importFromRegistry<typeof import("connect-redis")>({
  name: "connect-redis",
  version: "10.0.0",
  integrity:
    "sha512-x6EotIY20pvocamMtcOsgxFzYufAMfipE+rjWa0cZMeSx+3K0yoHi4Nv4sfMlgF+Z5KnUbMFxyCx9pDZP39p0Q==",
});
