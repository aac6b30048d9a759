import { type Script, script } from "./script.ts";

/** How much longer an index entry lives than its session: for the time between the two, and for clocks that differ. */
const INDEX_GRACE_MS = 60_000;

/**
 * The score of an entry that never ends is this plus the time when it was last added: later than any end, and a double holds
 * the sum exactly. So a session that is added again is distinguished from one that is not.
 */
const FOREVER = 2 ** 52;

/** The permissions for index entries, in the words of an ACL. */
export const INDEX_ACL =
  "+time +zadd +zscore +zrange +zrangebyscore +zrevrange +zrem +pexpireat +persist ~idx:{*";

// What scripts must observe, these included, stands in scripts.ts.

/** Removes index entries whose sessions have ended. Input: endsKey, sinceKey. Output: nowMs, the server's time since 1970. */
const REMOVE_EXPIRED = `local time = redis.call("TIME")
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = redis.call("ZRANGEBYSCORE", endsKey, "-inf", nowMs, "LIMIT", 0, 1000)
if #expired > 0 then
  redis.call("ZREM", endsKey, unpack(expired))
  redis.call("ZREM", sinceKey, unpack(expired))
end`;

/** Lets the sets of an index value expire with their last entry. Input: endsKey, sinceKey. */
const EXPIRE_INDEX = `local lastEnd = redis.call("ZRANGE", endsKey, -1, -1, "WITHSCORES")[2]
for _, key in ipairs(lastEnd and {endsKey, sinceKey} or {}) do
  if tonumber(lastEnd) >= ${FOREVER} then redis.call("PERSIST", key) else redis.call("PEXPIREAT", key, lastEnd) end
end`;

/**
 * Input: endsKey, sinceKey, sid, ttlMs, empty for never.
 *
 * An end only moves to later. An entry that never ends gets the time of this addition even if its session ends from now on.
 */
export const ADD_TO_INDEX: string = `${REMOVE_EXPIRED}
local forever = ${FOREVER} + nowMs
local endsAt = ttlMs == "" and forever or math.min(nowMs + ttlMs + ${INDEX_GRACE_MS}, ${FOREVER} - 1)
if redis.call("ZADD", endsKey, "GT", "CH", endsAt, sid) == 0
    and tonumber(redis.call("ZSCORE", endsKey, sid)) >= ${FOREVER} then
  redis.call("ZADD", endsKey, forever, sid)
end
redis.call("ZADD", sinceKey, "NX", nowMs, sid)
${EXPIRE_INDEX}`;

/**
 * Adds a session to the index.
 *
 * Input: KEYS[1] the set of ends, KEYS[2] the set of beginnings; ARGV[1] session id, ARGV[2] its ttl in milliseconds, empty for
 * never.
 */
export const NOTE_IN_INDEX: Script = script(
  INDEX_ACL,
  `local endsKey, sinceKey, sid, ttlMs = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
${ADD_TO_INDEX}`,
);

/**
 * Lists the sessions of an index value.
 *
 * Input: KEYS[1] the set of ends, KEYS[2] the set of beginnings.
 * Output, each in pairs of session id and score: since when the sessions are known, newest first; and the entries that never
 * end and are so old that the writes which they were added for are over.
 */
export const LIST_INDEX: Script = script(
  INDEX_ACL,
  `local endsKey, sinceKey = KEYS[1], KEYS[2]
${REMOVE_EXPIRED}
local settledUntil = ${FOREVER - INDEX_GRACE_MS} + nowMs
return {
  redis.call("ZREVRANGE", sinceKey, 0, -1, "WITHSCORES"),
  redis.call("ZRANGEBYSCORE", endsKey, ${FOREVER}, settledUntil, "WITHSCORES"),
}`,
);

/**
 * Removes index entries whose sessions do not exist, or have another index value, if that is still so.
 *
 * Input: KEYS[1] the set of ends, KEYS[2] the set of beginnings, then the sessions; ARGV for each session: its id, and the
 * SHA-1 of the value that has another index value, empty if the session did not exist.
 */
export const REMOVE_STALE: Script = script(
  `+get +pttl ${INDEX_ACL}`,
  `local endsKey, sinceKey = KEYS[1], KEYS[2]
for i = 1, #ARGV / 2 do
  local key, sid, examinedSha1 = KEYS[i + 2], ARGV[2 * i - 1], ARGV[2 * i]
  local isStale = redis.call("PTTL", key) == -2
  if not isStale and examinedSha1 ~= "" then
    local current = redis.call("GET", key)
    isStale = redis.sha1hex(current) == examinedSha1
  end
  if isStale then
    redis.call("ZREM", endsKey, sid)
    redis.call("ZREM", sinceKey, sid)
  end
end
${EXPIRE_INDEX}`,
);

/**
 * Removes index entries that have not been added again since they were listed, for sessions that another server holds.
 *
 * Input: KEYS[1] the set of ends, KEYS[2] the set of beginnings; ARGV for each session: its id and the score that was listed.
 */
export const REMOVE_LISTED: Script = script(
  INDEX_ACL,
  `local endsKey, sinceKey = KEYS[1], KEYS[2]
for i = 1, #ARGV / 2 do
  local sid, listedScore = ARGV[2 * i - 1], tonumber(ARGV[2 * i])
  if tonumber(redis.call("ZSCORE", endsKey, sid)) == listedScore then
    redis.call("ZREM", endsKey, sid)
    redis.call("ZREM", sinceKey, sid)
  end
end
${EXPIRE_INDEX}`,
);
