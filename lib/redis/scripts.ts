import { createHash } from "node:crypto";

/** A Lua script. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
  /** The permissions that its commands need, in the words of an ACL; those of the index are in `INDEX_ACL`. */
  readonly acl: string;
}

/** How much longer an index entry lives than its session: for the time between the two, and for clocks that differ. */
const INDEX_GRACE_MS = 60_000;

/** The permissions for index entries, in the words of an ACL. */
export const INDEX_ACL = "+time +zadd +zrange +zrangebyscore +zrevrange +zrem +pexpireat +persist ~idx:{*";

/*
 * Redis does not undo what a script has done before one of its commands fails. So that a script does everything or nothing:
 *
 * 1. `checkPublish` comes before the first write. A PUBLISH fails only if the ACL denies it, so it cannot fail afterwards.
 *    Otherwise other processes would keep serving a session that was deleted without a message.
 * 2. The first write is the one that everything depends on, or an index entry, which does no harm without its session.
 *    Redis refuses the first write of a script or none: READONLY, MISCONF, NOREPLICAS, OOM, or the ACL.
 * 3. PUBLISH comes after the write, so that no message reports what Redis refused. Nobody can read in between.
 * 4. Index entries are removed last. One that remains does no harm; one that is missing would hide its session.
 */

/**
 * Input: ARGV[1] channel, or empty for no message; ARGV[2] message.
 *
 * `redis.acl_check_cmd` exists since Redis 7.0. Before, a message to a channel that nobody subscribes to fails like the real
 * one. A denied PUBLISH is called all the same: it raises Redis's own error.
 */
const PUBLISHING = `local channel, message = ARGV[1], ARGV[2]
local function checkPublish()
  if channel == "" then return end
  if not redis.acl_check_cmd then redis.call("PUBLISH", channel .. ":check", "")
  elseif not redis.acl_check_cmd("PUBLISH", channel, message) then redis.call("PUBLISH", channel, message) end
end
local function publish()
  if channel ~= "" then redis.call("PUBLISH", channel, message) end
end
`;

/** Defines `removeExpired`, which returns the server's time in milliseconds since 1970, and `addToIndex`. */
const INDEXING = `local function removeExpired(endsKey, sinceKey)
  local time = redis.call("TIME")
  local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
  local expired = redis.call("ZRANGEBYSCORE", endsKey, "-inf", nowMs, "LIMIT", 0, 1000)
  if #expired > 0 then
    redis.call("ZREM", endsKey, unpack(expired))
    redis.call("ZREM", sinceKey, unpack(expired))
  end
  return nowMs
end
local function addToIndex(endsKey, sinceKey, sid, ttlMs)
  local nowMs = removeExpired(endsKey, sinceKey)
  local endsAt = ttlMs == "" and "inf" or nowMs + ttlMs + ${INDEX_GRACE_MS}
  redis.call("ZADD", endsKey, "GT", endsAt, sid)
  redis.call("ZADD", sinceKey, "NX", nowMs, sid)
  local lastEnd = redis.call("ZRANGE", endsKey, -1, -1, "WITHSCORES")[2]
  for _, key in ipairs({endsKey, sinceKey}) do
    if lastEnd == "inf" then redis.call("PERSIST", key) else redis.call("PEXPIREAT", key, lastEnd) end
  end
end
`;

/**
 * The beginning of all scripts that write one session.
 *
 * Input: KEYS[1] session; then the two sets that it is added to, if ARGV[5] is 1; then the two that it is removed from, if any.
 * ARGV[1] channel, ARGV[2] message, ARGV[3] the session's ttl in milliseconds, or empty for never, ARGV[4] session id,
 * ARGV[5] 1 or 0.
 */
const SESSION_WRITE = `${PUBLISHING}${INDEXING}local sessionKey = KEYS[1]
local ttlMs, sid, isAdded = ARGV[3], ARGV[4], ARGV[5] == "1"
local function addSession()
  if isAdded then addToIndex(KEYS[2], KEYS[3], sid, ttlMs) end
end
local function setSession(text)
  if ttlMs == "" then redis.call("SET", sessionKey, text) else redis.call("SET", sessionKey, text, "PX", ttlMs) end
end
local function removeSession()
  for i = isAdded and 4 or 2, #KEYS do redis.call("ZREM", KEYS[i], sid) end
end
`;

/**
 * Writes a session together with its index entries.
 *
 * Input: see SESSION_WRITE; ARGV[6] value; ARGV[7] 1 if the session must exist.
 * Output: 1; or 0 if the session must exist and does not: then only the message is published, as with SET XX in a transaction.
 */
export const SAVE: Script = script(
  "+pttl +set",
  `${SESSION_WRITE}local text, mustExist = ARGV[6], ARGV[7] == "1"
checkPublish()
if mustExist and redis.call("PTTL", sessionKey) == -2 then
  publish()
  return 0
end
addSession()
setSession(text)
publish()
removeSession()
return 1`,
);

/**
 * Writes a session if it still has the expected value.
 *
 * Input: see SESSION_WRITE; ARGV[6] value; ARGV[7] expected value.
 * Output: {1}; or {0, current value}, null if there is no session.
 */
export const REPLACE: Script = script(
  "+get +set",
  `${SESSION_WRITE}local text, expected = ARGV[6], ARGV[7]
local current = redis.call("GET", sessionKey)
if current ~= expected then return {0, current} end
checkPublish()
addSession()
setSession(text)
publish()
removeSession()
return {1}`,
);

/**
 * Changes when a session expires, and publishes the message only if it expires earlier than before: copies in other processes
 * expire no later than the key did, and only Redis knows when that is.
 *
 * Input: see SESSION_WRITE.
 * Output: "later", "earlier", or "none" if there is no session.
 */
export const TOUCH: Script = script(
  "+pttl +pexpire",
  `${SESSION_WRITE}local oldTtlMs = redis.call("PTTL", sessionKey)
if oldTtlMs == -2 then return "none" end
local isEarlier = oldTtlMs == -1 or oldTtlMs > tonumber(ttlMs)
if isEarlier then checkPublish() end
addSession()
redis.call("PEXPIRE", sessionKey, ttlMs)
if isEarlier then publish() end
removeSession()
return isEarlier and "earlier" or "later"`,
);

/**
 * Deletes sessions. A script, since Redis refuses every transaction when its memory is full, and a logout must not fail then.
 *
 * Input: KEYS the sessions, then the index sets to remove them from. ARGV[1] channel, ARGV[2] message, then the session ids.
 * Output: how many sessions there were.
 */
export const DELETE: Script = script(
  "+del, with indexBy +zrem,",
  `${PUBLISHING}local count = #ARGV - 2
checkPublish()
local deleted = 0
for i = 1, count do deleted = deleted + redis.call("DEL", KEYS[i]) end
publish()
for i = 1, count do
  for set = count + 1, #KEYS do redis.call("ZREM", KEYS[set], ARGV[i + 2]) end
end
return deleted`,
);

/**
 * Adds a session to the index.
 *
 * Input: KEYS[1] set of ends, KEYS[2] set of beginnings. ARGV[1] session id, ARGV[2] its ttl in milliseconds, or empty for never.
 */
export const ADD_TO_INDEX: Script = script(
  INDEX_ACL,
  `${INDEXING}local sid, ttlMs = ARGV[1], ARGV[2]
addToIndex(KEYS[1], KEYS[2], sid, ttlMs)`,
);

/**
 * Lists the sessions of an index value.
 *
 * Input: KEYS[1] set of ends, KEYS[2] set of beginnings.
 * Output: the session ids, newest first.
 */
export const LIST_INDEX: Script = script(
  INDEX_ACL,
  `${INDEXING}removeExpired(KEYS[1], KEYS[2])
return redis.call("ZREVRANGE", KEYS[2], 0, -1)`,
);

function script(acl: string, source: string): Script {
  return { source, sha1: createHash("sha1").update(source).digest("hex"), acl };
}
