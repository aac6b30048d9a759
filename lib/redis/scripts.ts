import { MAX_VALUE_BYTES } from "./replies.ts";
import {
  HAS_SHARDED_CHANNELS,
  type PublishingScript,
  publishingScript,
  type Script,
  script,
} from "./script.ts";

/*
 * Redis does not undo what a script has done before one of its commands fails. So that a script does everything or nothing:
 *
 * 1. CHECK_PUBLISH comes before the first write. PUBLISH fails only if the ACL denies it, so it cannot fail afterwards.
 *    Otherwise other processes would keep serving a session that was deleted without a message.
 * 2. Redis refuses the first write of a script or none (READONLY, MISCONF, NOREPLICAS, OOM); so does an ACL, except between
 *    the commands of the index and the others. An index entry does no harm without its session, so it comes first.
 * 3. PUBLISH comes after the write, so that no message reports what Redis refused. Nobody can read in between.
 * 4. Index entries are removed last. One that remains does no harm; one that is missing would hide its session.
 *
 * What scripts share is text, not functions: Redis would create each function again on each call, for 0.3 µs.
 */

/**
 * Raises Redis's error if the message may not be published. Input: channel, empty for no message; message.
 *
 * `redis.acl_check_cmd` exists since Redis 7.0. Before, publishing on a channel without subscribers fails like the real
 * PUBLISH.
 */
const CHECK_PUBLISH = `if channel ~= "" then
  if not redis.acl_check_cmd then redis.call("PUBLISH", channel .. ":check", "")
  elseif not redis.acl_check_cmd(publish, channel, message) then redis.call(publish, channel, message) end
end`;

/** Input: channel, empty for no message; message. */
const PUBLISH = `if channel ~= "" then redis.call(publish, channel, message) end`;

/** How much longer an index entry lives than its session: for the time between the two, and for clocks that differ. */
const INDEX_GRACE_MS = 60_000;

/**
 * The score of an entry that never ends is this plus the time when it was last added: later than any end, and a double holds
 * the sum exactly. So a session that is added again is distinguished from one that is not.
 */
const FOREVER = 2 ** 52;

/** The permissions for index entries, in the words of an ACL. */
export const INDEX_ACL =
  "+get +time +zadd +zscore +zrange +zrangebyscore +zrevrange +zrem +pexpireat +persist ~idx:{*";

/** Those for removing entries alone. */
export const INDEX_REMOVAL_ACL = "+zrem ~idx:{*";

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
 * What all scripts receive that write one session.
 *
 * Input: KEYS[1] session; then the two sets that it is added to, if ARGV[5] is 1; then the two that it is removed from, if any.
 * ARGV[1] channel, empty for no message; ARGV[2] message; ARGV[3] the session's ttl in milliseconds, empty for never, KEEPTTL for
 * the one that it has; ARGV[4] session id; ARGV[5] 1 or 0.
 */
const SESSION_INPUT = `local sessionKey, endsKey, sinceKey = KEYS[1], KEYS[2], KEYS[3]
local channel, message, ttlMs, sid, isAdded = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == "1"`;

const SET_SESSION = `if ttlMs == "" then redis.call("SET", sessionKey, value)
elseif ttlMs == "KEEPTTL" then redis.call("SET", sessionKey, value, ttlMs)
else redis.call("SET", sessionKey, value, "PX", ttlMs) end`;

const REMOVE_FROM_INDEX = `for i = isAdded and 4 or 2, #KEYS do redis.call("ZREM", KEYS[i], sid) end`;

/**
 * Writes a session together with its index entries.
 *
 * Input: SESSION_INPUT; ARGV[6] value; ARGV[7] 1 if the session must exist; ARGV[8] the value that it must have, if any is given.
 * Output: 1; or 0 if the session must exist and does not: then only the message is published, as with SET XX in a transaction. If a
 * value is expected: {1}; or {0, current value}, null if there is no session, and cut off after MAX_VALUE_BYTES + 1 bytes.
 */
export const SAVE: PublishingScript = publishingScript(
  "+pttl +set",
  `${SESSION_INPUT}
local value, mustExist, expected = ARGV[6], ARGV[7] == "1", ARGV[8]
if expected then
  local current = redis.call("GET", sessionKey)
  if current ~= expected then return {0, current and string.sub(current, 1, ${MAX_VALUE_BYTES + 1})} end
end
${CHECK_PUBLISH}
if mustExist and redis.call("PTTL", sessionKey) == -2 then
  ${PUBLISH}
  return 0
end
if isAdded then ${ADD_TO_INDEX} end
${SET_SESSION}
${PUBLISH}
${REMOVE_FROM_INDEX}
return expected and {1} or 1`,
);

/** Changes a key that does not exist, and deletes it, so that nobody can find it. Input: KEYS[1] key. Output: none. */
export const MODIFY: Script = script(
  "+set +del",
  `redis.call("SET", KEYS[1], "", "PX", 1000)
redis.call("DEL", KEYS[1])`,
);

/**
 * Changes when a session expires. Publishes the message if it expires earlier than before, since copies in other processes
 * expire no later than the key did, and only Redis knows when that is; or if ARGV[6] asks for it.
 *
 * If another value is expected than the session has, it changes nothing: its index entry would be extended for a value that it
 * no longer has, and the key would outlive that of its present one.
 *
 * Input: SESSION_INPUT, with a ttl; ARGV[6] 1 to publish in any case; ARGV[7] the SHA-1 of the expected value, if any is given; empty
 * if it is unknown.
 * Output: "later", "earlier", or "none" if there is no session; or {current value, its SHA-1}.
 */
export const TOUCH: PublishingScript = publishingScript(
  "+pttl +pexpire",
  `${SESSION_INPUT}
local isNews, expectedSha1 = ARGV[6] == "1", ARGV[7]
local oldTtlMs = redis.call("PTTL", sessionKey)
if oldTtlMs == -2 then return "none" end
if expectedSha1 then
  local current = redis.call("GET", sessionKey)
  local currentSha1 = redis.sha1hex(current)
  if currentSha1 ~= expectedSha1 then return {current, currentSha1} end
end
local isEarlier = oldTtlMs == -1 or oldTtlMs > tonumber(ttlMs)
local isPublished = isEarlier or isNews
if isPublished then ${CHECK_PUBLISH} end
if isAdded then ${ADD_TO_INDEX} end
redis.call("PEXPIRE", sessionKey, ttlMs)
if isPublished then ${PUBLISH} end
${REMOVE_FROM_INDEX}
return isEarlier and "earlier" or "later"`,
);

/**
 * Deletes sessions, also while Redis's memory is full.
 *
 * Input: KEYS the sessions, then the index sets to remove them from. ARGV[1] channel, empty for no message; ARGV[2] message;
 * then the session ids.
 * Output: how many sessions there were.
 */
export const DELETE: PublishingScript = publishingScript(
  "+del",
  `local channel, message, count = ARGV[1], ARGV[2], #ARGV - 2
${CHECK_PUBLISH}
local deleted = 0
for i = 1, count do deleted = deleted + redis.call("DEL", KEYS[i]) end
${PUBLISH}
for set = count + 1, #KEYS do
  for i = 1, count do redis.call("ZREM", KEYS[set], ARGV[i + 2]) end
end
return deleted`,
);

/**
 * Deletes those sessions that still have the value that was examined, and publishes a message with their ids, if there are any.
 *
 * Input: KEYS the sessions, then the index sets to remove them from. ARGV[1] channel, empty for no message; ARGV[2] and ARGV[3]
 * the message before and after its ids; then, for each session: its id; its id as JSON, empty if
 * the message is not to name it; the SHA-1 of the examined value.
 * Output: for each session: 1 if it was deleted, 0 if there was none, {value, its SHA-1, PTTL} if it has changed.
 */
export const DELETE_UNCHANGED: PublishingScript = publishingScript(
  "+get +pttl +del",
  `local channel, head, tail, count = ARGV[1], ARGV[2], ARGV[3], (#ARGV - 3) / 3
local results, deleted, ids = {}, {}, {}
for i = 1, count do
  local idAsJson, examinedSha1 = ARGV[3 * i + 2], ARGV[3 * i + 3]
  local current = redis.call("GET", KEYS[i])
  local currentSha1 = current and redis.sha1hex(current)
  if not current then
    results[i] = 0
  elseif currentSha1 ~= examinedSha1 then
    results[i] = {current, currentSha1, redis.call("PTTL", KEYS[i])}
  else
    results[i] = 1
    table.insert(deleted, i)
    if idAsJson ~= "" then table.insert(ids, idAsJson) end
  end
end
if #deleted == 0 then return results end
local message = head .. table.concat(ids, ",") .. tail
${CHECK_PUBLISH}
for _, i in ipairs(deleted) do redis.call("DEL", KEYS[i]) end
${PUBLISH}
for set = count + 1, #KEYS do
  for _, i in ipairs(deleted) do redis.call("ZREM", KEYS[set], ARGV[3 * i + 1]) end
end
return results`,
);

/**
 * Publishes a heartbeat that only a primary delivers, and only to its own subscribers.
 *
 * A replica refuses the DEL, and a primary that lacks the replicas of its `min-replicas-to-write` does. MISCONF is no reason:
 * Redis checks it after READONLY, so it comes from a primary. Without `set_repl`, Redis would send the PUBLISH to its replicas,
 * and a subscriber there would take their messages for those of the primary.
 *
 * Input: KEYS[1] a key that never exists; none in a Cluster, which proves its primaries by its epoch. ARGV[1] channel; ARGV[2]
 * payload.
 * Output: how many subscribers received it; the payload.
 */
export const HEARTBEAT: Script = script(
  "+del",
  `local absentKey, channel, payload = KEYS[1], ARGV[1], ARGV[2]
if absentKey then
  local reply = redis.pcall("DEL", absentKey)
  if type(reply) == "table" and reply.err and not string.find(reply.err, "MISCONF", 1, true) then return reply end
end
if redis.set_repl then redis.set_repl(redis.REPL_NONE) end
return {redis.call("PUBLISH", channel, payload), payload}`,
);

/**
 * Adds a session to the index.
 *
 * Input: KEYS[1] the set of ends, KEYS[2] the set of beginnings; ARGV[1] session id, ARGV[2] its ttl in milliseconds, empty for
 * never.
 * Output: none.
 */
export const ADD_INDEX_ENTRY: Script = script(
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
 * Output: none.
 */
export const REMOVE_OUTDATED: Script = script(
  `+pttl ${INDEX_ACL}`,
  `local endsKey, sinceKey = KEYS[1], KEYS[2]
for i = 1, #ARGV / 2 do
  local key, sid, examinedSha1 = KEYS[i + 2], ARGV[2 * i - 1], ARGV[2 * i]
  local isOutdated = redis.call("PTTL", key) == -2
  if not isOutdated and examinedSha1 ~= "" then
    local current = redis.call("GET", key)
    isOutdated = redis.sha1hex(current) == examinedSha1
  end
  if isOutdated then
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
 * Output: none.
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

/** Whether the server that executes it publishes to its shard alone. Input: none. Output: 1 or 0. */
export const SHARDED_CHANNELS: Script = script("", `return ${HAS_SHARDED_CHANNELS} and 1 or 0`);

/** Shows that Redis executes scripts. Input: none. Output: 1. */
export const NOTHING: Script = script("", "return 1");

/** Shows that a server accepts writes. Input: KEYS[1] a key that never exists. Output: 0. */
export const DELETE_ABSENT: Script = script("+del", 'return redis.call("DEL", KEYS[1])');
