import { warnOnce } from "../reporting/warnings.ts";
import type { OptionTable } from "./option.ts";

const CONNECTION = "it belongs to the client: createClient({ url }), and pass what that returns as client";
const MIDDLEWARE = "it belongs to express-session: session({ store, … })";
const LIFETIME = "use cookie.maxAge of express-session (milliseconds) or ttl (seconds)";
const CACHE_TTL =
  "use localCache.ttlMs (how long a cached session is served, in milliseconds) or ttl (in seconds)";

/** Names from express-session, node-redis, connect-redis and other stores and caches, without case and `_`, and what to use. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  maxage: LIFETIME,
  expires: LIFETIME,
  expiration: LIFETIME,
  ttlseconds: "use ttl, in seconds",
  ttlms: CACHE_TTL,
  cachettl: CACHE_TTL,
  cache: "use localCache",
  localcacheenabled: "use localCache: false or true",
  localcachettl: "use localCache.ttlMs",
  localcachemaxsize: "use localCache.maxSize",
  max: "use localCache.maxSize",
  maxentries: "use localCache.maxSize",
  maxitems: "use localCache.maxSize",
  enabled: "use localCache.enabled or cluster.enabled",
  subscribetimeout: "use cluster.subscribeTimeoutMs",
  subscriberclient: "use cluster.subscriber",
  redis: "use client",
  redisclient: "use client",
  rediscluster: "use client, with a client from createCluster()",
  keyprefix: "use prefix",
  touchafter: "use touchAfterMs, in milliseconds",
  timeout: "use commandTimeoutMs",
  timeoutms: "use commandTimeoutMs",
  commandtimeout: "use commandTimeoutMs",
  unref: "use client.unref()",
  logerrors: 'use client.on("error", …) and store.on("clusterError", …)',
  host: CONNECTION,
  port: CONNECTION,
  url: CONNECTION,
  socket: CONNECTION,
  username: CONNECTION,
  pass: CONNECTION,
  password: CONNECTION,
  db: CONNECTION,
  database: CONNECTION,
  secret: MIDDLEWARE,
  store: MIDDLEWARE,
  resave: MIDDLEWARE,
  saveuninitialized: MIDDLEWARE,
  rolling: MIDDLEWARE,
  cookie: MIDDLEWARE,
  genid: MIDDLEWARE,
};

/**
 * Looks for names that are no options, since the store would ignore them silently.
 * @param groups by the name of the option that they are the value of
 * @throws TypeError for a name that differs from an option only in case or `_`, is an option of a group, or is known from
 * elsewhere; it names the right one
 */
export function rejectUnknownOptions(
  given: Readonly<Record<string, unknown>>,
  store: OptionTable,
  groups: Readonly<Record<string, OptionTable>>,
): void {
  const replacements = new Map(Object.entries(ELSEWHERE));
  for (const [group, table] of Object.entries(groups)) {
    for (const name of Object.keys(table)) {
      if (name !== "enabled" && name !== "ttlMs") replacements.set(normalized(name), `use ${group}.${name}`);
    }
  }
  for (const name of ["client", ...Object.keys(store)]) replacements.set(normalized(name), `use ${name}`);
  for (const name of Object.keys(given)) {
    if (name === "client" || Object.hasOwn(store, name) || given[name] == null) continue;
    const replacement = replacements.get(normalized(name));
    if (replacement !== undefined) throw new TypeError(`${name}: there is no such option; ${replacement}`);
    const known = ["client", ...Object.keys(store)].join(", ");
    warnOnce(
      "WARN_UNKNOWN_OPTION",
      name,
      `${name.slice(0, 60)}: ClusteredRedisStore has no such option, and ignores it.`,
      `The options are ${known}.`,
    );
  }
}

function normalized(name: string): string {
  return name.replaceAll("_", "").toLowerCase();
}
