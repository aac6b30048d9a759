/** What to say of a refused command or value, by the words of Redis, node-redis and codecs: they do not say what the application did. */
const HINTS: readonly (readonly [reason: RegExp, hint: string])[] = [
  [/^(MOVED|CROSSSLOT) /, "this Redis is a Cluster: create the client with createCluster()"],
  [
    /only \(P\|S\)SUBSCRIBE/,
    "the application subscribes on the store's client: use client.duplicate() for that",
  ],
  [/watched keys/, "the application calls WATCH on the store's client: use client.duplicate() for that"],
  [/^NOAUTH /, "pass the password to createClient()"],
  [/^WRONGTYPE /, "something else uses keys under the store's prefix"],
  [/ERR_CODEC_PLAIN$/, "it is not encrypted, and acceptPlain is not set"],
  [/ERR_CODEC_UNKNOWN_KEY$/, "the id of its key is not among keys"],
  [/ERR_CODEC_NOT_AUTHENTIC$/, "it was changed or copied, or another key has the same id"],
  [/ERR_CODEC_FORMAT$/, "it is damaged, or a newer version has written it"],
];

/** What to say of a refused command or value, to be appended to the reason; empty if nothing is known. */
export function hintFor(reason: string): string {
  const hint = HINTS.find(([pattern]) => pattern.test(reason))?.[1];
  return hint === undefined ? "" : ` (${hint})`;
}

/** What to do about a store that is not live, by the words of Redis, node-redis and the store. */
const FIXES: readonly (readonly [reason: RegExp, fix: string])[] = [
  [/connect\(\) was not called/, "Call connect() on the client: createClient() alone opens no connection."],
  [
    /NOAUTH/,
    'Pass the password to createClient(), as createClient({ url: "redis://user:password@host:6379" }) or as options. An AUTH command does not reach the connection of the subscription.',
  ],
  [/WRONGPASS/, "Correct the user name and the password in the options of createClient()."],
  [/NOPERM|needed: /, "Grant the Redis user the permissions that are missing (ACL SETUSER)."],
  [
    /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ETIMEDOUT|timeout/i,
    "Check that Redis is running, and the address in the options of createClient().",
  ],
  [/certificate/, "Pass the certificate authority to createClient(): socket: { tls: true, ca }."],
  [/MOVED/, "This Redis is a Cluster: create the client with createCluster()."],
];

/** What to do about a failure to become live. */
export function fixFor(reason: string): string {
  const fix = FIXES.find(([pattern]) => pattern.test(reason))?.[1];
  return (
    fix ?? 'Listen to the event clusterError to see each failure: store.on("clusterError", console.warn).'
  );
}
