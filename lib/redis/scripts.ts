import { createHash } from "node:crypto";
import { MAX_VALUE_BYTES } from "./replies.ts";

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
  elseif not redis.acl_check_cmd("PUBLISH", channel, message) then redis.call("PUBLISH", channel, message) end
end`;

/** Input: channel, empty for no message; message. */
const PUBLISH = `if channel ~= "" then redis.call("PUBLISH", channel, message) end`;

/** Removes index entries whose sessions have ended. Input: endsKey, sinceKey. Output: nowMs, the server's time since 1970. */
const REMOVE_EXPIRED = `local time = redis.call("TIME")
local nowMs = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = redis.call("ZRANGEBYSCORE", endsKey, "-inf", nowMs, "LIMIT", 0, 1000)
if #expired > 0 then
  redis.call("ZREM", endsKey, unpack(expired))
  redis.call("ZREM", sinceKey, unpack(expired))
end`;

/** Input: endsKey, sinceKey, sid, ttlMs, empty for never. */
const ADD_TO_INDEX = `${REMOVE_EXPIRED}
local endsAt = ttlMs == "" and "inf" or nowMs + ttlMs + ${INDEX_GRACE_MS}
redis.call("ZADD", endsKey, "GT", endsAt, sid)
redis.call("ZADD", sinceKey, "NX", nowMs, sid)
local lastEnd = redis.call("ZRANGE", endsKey, -1, -1, "WITHSCORES")[2]
for _, key in ipairs({endsKey, sinceKey}) do
  if lastEnd == "inf" then redis.call("PERSIST", key) else redis.call("PEXPIREAT", key, lastEnd) end
end`;

/**
 * What all scripts receive that write one session.
 *
 * Input: KEYS[1] session; then the two sets that it is added to, if ARGV[5] is 1; then the two that it is removed from, if any.
 * ARGV[1] channel, empty for no message; ARGV[2] message; ARGV[3] the session's ttl in milliseconds, empty for never;
 * ARGV[4] session id; ARGV[5] 1 or 0.
 */
const SESSION_INPUT = `local sessionKey, endsKey, sinceKey = KEYS[1], KEYS[2], KEYS[3]
local channel, message, ttlMs, sid, isAdded = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == "1"`;

const SET_SESSION = `if ttlMs == "" then redis.call("SET", sessionKey, text)
else redis.call("SET", sessionKey, text, "PX", ttlMs) end`;

const REMOVE_FROM_INDEX = `for i = isAdded and 4 or 2, #KEYS do redis.call("ZREM", KEYS[i], sid) end`;

/**
 * Writes a session together with its index entries.
 *
 * Input: SESSION_INPUT; ARGV[6] value; ARGV[7] 1 if the session must exist.
 * Output: 1; or 0 if the session must exist and does not: then only the message is published, as with SET XX in a transaction.
 */
export const SAVE: Script = script(
  "+pttl +set",
  `${SESSION_INPUT}
local text, mustExist = ARGV[6], ARGV[7] == "1"
${CHECK_PUBLISH}
if mustExist and redis.call("PTTL", sessionKey) == -2 then
  ${PUBLISH}
  return 0
end
if isAdded then ${ADD_TO_INDEX} end
${SET_SESSION}
${PUBLISH}
${REMOVE_FROM_INDEX}
return 1`,
);

/**
 * Writes a session if it still has the expected value.
 *
 * Input: SESSION_INPUT; ARGV[6] value; ARGV[7] expected value.
 * Output: {1}; or {0, current value}, null if there is no session, and cut off after MAX_VALUE_BYTES + 1 bytes.
 */
export const REPLACE: Script = script(
  "+get +set",
  `${SESSION_INPUT}
local text, expected = ARGV[6], ARGV[7]
local current = redis.call("GET", sessionKey)
if current ~= expected then return {0, current and string.sub(current, 1, ${MAX_VALUE_BYTES + 1})} end
${CHECK_PUBLISH}
if isAdded then ${ADD_TO_INDEX} end
${SET_SESSION}
${PUBLISH}
${REMOVE_FROM_INDEX}
return {1}`,
);

/**
 * Changes when a session expires. Publishes the message if it expires earlier than before, since copies in other processes
 * expire no later than the key did, and only Redis knows when that is; or if told to.
 *
 * Input: SESSION_INPUT, with a ttl; ARGV[6] 1 to publish in any case.
 * Output: "later", "earlier", or "none" if there is no session.
 */
export const TOUCH: Script = script(
  "+pttl +pexpire",
  `${SESSION_INPUT}
local oldTtlMs = redis.call("PTTL", sessionKey)
if oldTtlMs == -2 then return "none" end
local isEarlier = oldTtlMs == -1 or oldTtlMs > tonumber(ttlMs)
local isPublished = isEarlier or ARGV[6] == "1"
if isPublished then ${CHECK_PUBLISH} end
if isAdded then ${ADD_TO_INDEX} end
redis.call("PEXPIRE", sessionKey, ttlMs)
if isPublished then ${PUBLISH} end
${REMOVE_FROM_INDEX}
return isEarlier and "earlier" or "later"`,
);

/**
 * Deletes sessions. A script, since Redis refuses every transaction when its memory is full, and a logout must not fail then.
 *
 * Input: KEYS the sessions, then the index sets to remove them from. ARGV[1] channel, empty for no message; ARGV[2] message;
 * then the session ids.
 * Output: how many sessions there were.
 */
export const DELETE: Script = script(
  "+del, with indexBy +zrem,",
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
 * Output: the session ids, newest first.
 */
export const LIST_INDEX: Script = script(
  INDEX_ACL,
  `local endsKey, sinceKey = KEYS[1], KEYS[2]
${REMOVE_EXPIRED}
return redis.call("ZREVRANGE", sinceKey, 0, -1)`,
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

function script(acl: string, source: string): Script {
  return { source, sha1: createHash("sha1").update(source).digest("hex"), acl };
}
