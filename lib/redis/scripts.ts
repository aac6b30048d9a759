import { type Script, script } from "./executor.ts";

/*
 * What is done to a session by a script, and announced as one with that.
 *
 * The message comes first everywhere: what a script has done stays done if it fails, and a message without a write does no
 * harm. Nobody reads between the two.
 */

/** KEYS: the session. ARGV: expected value, new value, milliseconds or nothing, channel or nothing, message. */
export const REPLACE: Script = script(
  "+get +set",
  `local held = redis.call("GET", KEYS[1])
if held ~= ARGV[1] then return {0, held} end
if ARGV[4] ~= "" then redis.call("PUBLISH", ARGV[4], ARGV[5]) end
if ARGV[3] == "" then redis.call("SET", KEYS[1], ARGV[2]) else redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3]) end
return {1}`,
);

/** KEYS: the session. ARGV: milliseconds, channel or nothing, message. A PTTL of -1 is one that never ended, -2 no key. */
export const EXPIRE: Script = script(
  "+pttl +pexpire",
  `local was = redis.call("PTTL", KEYS[1])
if was == -2 then return "none" end
local earlier = was < 0 or was > tonumber(ARGV[1])
if earlier and ARGV[2] ~= "" then redis.call("PUBLISH", ARGV[2], ARGV[3]) end
redis.call("PEXPIRE", KEYS[1], ARGV[1])
return earlier and "earlier" or "later"`,
);

/**
 * KEYS: the sessions, then the sets that name them. ARGV: the sessions' ids, channel or nothing, message.
 *
 * A script, since Redis refuses whatever is part of a transaction when its memory is full, and a logout must not fail then.
 */
export const DELETE: Script = script(
  "+del, with indexBy +zrem,",
  `local count = #ARGV - 2
if ARGV[count + 1] ~= "" then redis.call("PUBLISH", ARGV[count + 1], ARGV[count + 2]) end
local deleted = 0
for i = 1, count do
  deleted = deleted + redis.call("DEL", KEYS[i])
  for set = count + 1, #KEYS do redis.call("ZREM", KEYS[set], ARGV[i]) end
end
return deleted`,
);
