import type { Deadline } from "./deadlines.ts";
import type { CommandExecutor } from "./executor.ts";
import { asArray, asTexts } from "./replies.ts";
import { type Script, script } from "./script.ts";
import type { Topology } from "./topology.ts";

/** How a write changes the index: afterwards the session is found by `to`, and no longer by `from`. */
export interface IndexChange {
  readonly to: string | undefined;
  readonly from: string | undefined;
}

/** An index entry to be added. */
export interface IndexEntry {
  readonly sid: string;
  /** How long the session lives from now on, in milliseconds; undefined for forever. */
  readonly ttlMs: number | undefined;
  readonly value: string;
}

/** An index entry, as it was listed. */
export interface ListedEntry {
  readonly sid: string;
  /** Since when it is known, in milliseconds since 1970 by the clock of Redis. */
  readonly since: number;
  /** Of an entry that never ends, and was not added by a write that may still be pending. */
  readonly settledScore: string | undefined;
}

/** An index entry whose session does not exist, or has another index value. */
export interface OutdatedEntry extends ListedEntry {
  /** The SHA-1 of the value that has another index value; undefined if the session did not exist. */
  readonly sha1: string | undefined;
}

/** What precedes all keys of the index, so that none of them is the key of a session. */
export const INDEX_PREFIX = "idx:{";

/**
 * The index: which sessions belong to a value, for example to a user. Each value has two sorted sets in one slot: when its
 * sessions end at the latest, and since when each has been known.
 *
 * 1. **Entries come first.** Before a session is written or extended, or in the same script, its entry is added with the new
 *    end. So the index may name a session that does not exist or has another value; it never lacks one that exists. Readers
 *    check the sessions themselves.
 * 2. **Ends only move to later**, since two entries may arrive in another order than their writes.
 * 3. **Entries expire.** Expired ones are removed whenever the value is added to or listed, and the sets expire with their
 *    last entry.
 * 4. **Entries are removed earlier together with the write** that deletes the session or gives it another value, and when a
 *    listing finds them outdated. Then the script checks the session again. In a Cluster no script can do either, and only
 *    entries that never end are removed: those that were listed long after they had been added, and are not added again.
 */
export class IndexCommands {
  readonly #topology: Topology;
  readonly #executor: CommandExecutor;

  constructor(topology: Topology, executor: CommandExecutor) {
    this.#topology = topology;
    this.#executor = executor;
  }

  /** Adds a session that exists, or is about to be written. */
  async add(deadline: Deadline, { sid, ttlMs, value }: IndexEntry): Promise<void> {
    const args = [sid, ttlMs === undefined ? "" : String(Math.ceil(ttlMs))];
    await this.#executor.runScript(deadline, { script: ADD, keys: this.keysFor(value), args });
  }

  /** The entries of a value, newest first; some of their sessions may not exist. */
  async list(deadline: Deadline, value: string): Promise<ListedEntry[]> {
    const call = { script: LIST_INDEX, keys: this.keysFor(value), args: [], as: asArray };
    const parts = await this.#executor.runScript(deadline, call);
    const [listed = [], settled = []] = parts.map((part) =>
      pairs(asTexts(part) ?? this.#executor.unexpected("EVALSHA", part)),
    );
    const scores = new Map(settled);
    return listed.map(([sid, since]) => ({ sid, since: Number(since), settledScore: scores.get(sid) }));
  }

  /** Removes outdated entries of a value, except those that have become valid since. */
  async removeOutdated(deadline: Deadline, value: string, entries: readonly OutdatedEntry[]): Promise<void> {
    const sets = this.keysFor(value);
    if (this.#topology.combinesKeys) {
      const keys = [...sets, ...entries.map(({ sid }) => this.#topology.prefix + sid)];
      const args = entries.flatMap(({ sid, sha1 = "" }) => [sid, sha1]);
      await this.#executor.runScript(deadline, { script: REMOVE_OUTDATED, keys, args });
      return;
    }
    const args = entries.flatMap(({ sid, settledScore }) =>
      settledScore === undefined ? [] : [sid, settledScore],
    );
    if (args.length === 0) return;
    await this.#executor.runScript(deadline, { script: REMOVE_LISTED, keys: sets, args });
  }

  /**
   * The sets of a value: when its sessions end, and since when they have been known. The length of the prefix separates it from
   * the value: `a:b` under the prefix `sess:` must not share its sets with `b` under `sess:a:`, whose sessions have other keys.
   */
  keysFor(value: string): readonly [ends: string, since: string] {
    const { prefix } = this.#topology;
    const base = `${INDEX_PREFIX}${prefix}${value}}:${prefix.length}`;
    return [`${base}:ends`, `${base}:since`];
  }
}

/** Members and scores, which alternate in a reply. */
function pairs(texts: readonly string[]): (readonly [member: string, score: string])[] {
  return Array.from(
    { length: texts.length / 2 },
    (_, i) => [texts[2 * i], texts[2 * i + 1]] as [string, string],
  );
}

// What scripts must observe, these included, stands in scripts.ts.

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
 * Adds a session to the index.
 *
 * Input: KEYS[1] the set of ends, KEYS[2] the set of beginnings; ARGV[1] session id, ARGV[2] its ttl in milliseconds, empty for
 * never.
 */
const ADD: Script = script(
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
const LIST_INDEX: Script = script(
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
const REMOVE_OUTDATED: Script = script(
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
 */
const REMOVE_LISTED: Script = script(
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
