import type { CommandBatch } from "./client.ts";
import type { Fill } from "./cluster-routing.ts";
import type { Deadline } from "./deadlines.ts";
import type { RedisSender } from "./executor.ts";

/** What a write makes of the index: the session is found by `to` from now on, and by `from` no more. */
export interface IndexChange {
  readonly to: string | undefined;
  readonly from: string | undefined;
}

/** What stands before all keys of the index, which so are none of a session. */
export const INDEX_PREFIX = "idx:{";

/** Between a session's note and its write there may pass so much time, and clocks may differ by as much. */
const SLACK_MS = 60_000;

/**
 * Which sessions belong to a value, say to a user. For each value there are two sorted sets in one slot: when its sessions end, at
 * the latest, and since when they have been known.
 *
 * 1. **Written ahead.** Before a session is written or prolonged, or in the same transaction, it is noted with its new end.
 *    So the index may name a session that is not there, or is somebody else's by now; it never leaves out one that is.
 *    Whoever reads it looks at the sessions themselves, too.
 * 2. **An end only moves to later.** Two notes may come in another order than their writes.
 * 3. **Notes go by time.** Those whose end is over are thrown out whenever a value is noted or listed, and the sets
 *    themselves end with the last of their notes.
 * 4. A note is taken out sooner only as one with what deletes its session or gives it another value. In Cluster they cannot
 *    be one, and a note that is taken out late could be one that has just been made.
 */
export class SessionIndex {
  readonly #sender: RedisSender;

  constructor(sender: RedisSender) {
    this.#sender = sender;
  }

  /**
   * Sees to it that the index knows of a write.
   * @param ttlMs how long the session lives from then on; undefined for ever
   * @returns commands to be sent in one transaction with the write; in Cluster a promise to wait for before it is sent;
   * undefined when there is nothing to do
   */
  ahead(
    deadline: Deadline,
    sid: string,
    ttlMs: number | undefined,
    { to, from }: IndexChange,
  ): Fill | undefined | Promise<undefined> {
    if (this.#sender.routes !== undefined) {
      return to === undefined ? undefined : this.note(deadline, sid, ttlMs, to).then(() => undefined);
    }
    const note = to === undefined ? undefined : this.#note(to, sid, ttlMs);
    const hasLeft = from !== undefined && from !== to;
    if (note === undefined && !hasLeft) return undefined;
    const left = hasLeft ? this.#keysOf(from) : [];
    return (batch) => {
      note?.(batch);
      for (const key of left) batch.zRem(key, sid);
      return batch;
    };
  }

  /** The sets that sessions are to be taken out of, as one with their deletion. */
  setsToLeave(value: string | undefined): readonly string[] {
    return value === undefined || this.#sender.routes !== undefined ? [] : this.#keysOf(value);
  }

  /** Notes a session that there is already. */
  async note(deadline: Deadline, sid: string, ttlMs: number | undefined, value: string): Promise<void> {
    await this.#send(deadline, value, this.#note(value, sid, ttlMs));
  }

  /** The ids of the sessions that are noted for a value, the newest first; not all of them need be there. */
  async list(deadline: Deadline, value: string): Promise<string[]> {
    const given = { keys: this.#keysOf(value), arguments: [] };
    const reply = await this.#send(deadline, value, (batch) => batch.eval(LIST, given));
    return (reply as unknown[]).map(String);
  }

  #note(value: string, sid: string, ttlMs: number | undefined): Fill {
    const lasts = ttlMs === undefined ? "" : String(Math.ceil(ttlMs) + SLACK_MS);
    const given = { keys: this.#keysOf(value), arguments: [sid, lasts] };
    // Not by its hash: in a transaction it would be too late to find out that Redis does not know it.
    return (batch: CommandBatch) => batch.eval(NOTE, given);
  }

  async #send(deadline: Deadline, value: string, fill: Fill): Promise<unknown> {
    const [key] = this.#keysOf(value);
    const { replies } = await this.#sender.send(deadline, "EVAL", key, fill);
    return replies[0];
  }

  /** When the sessions end, and since when they have been known. */
  #keysOf(value: string): [ends: string, since: string] {
    const base = `${INDEX_PREFIX}${this.#sender.prefix}${value}}`;
    return [`${base}:ends`, `${base}:since`];
  }
}

const CLEAN = `local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local over = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", now, "LIMIT", 0, 1000)
if #over > 0 then
  redis.call("ZREM", KEYS[1], unpack(over))
  redis.call("ZREM", KEYS[2], unpack(over))
end
`;

/** KEYS: ends, since. ARGV: session id, milliseconds or nothing. */
const NOTE = `${CLEAN}redis.call("ZADD", KEYS[1], "GT", ARGV[2] == "" and "inf" or now + ARGV[2], ARGV[1])
redis.call("ZADD", KEYS[2], "NX", now, ARGV[1])
local last = redis.call("ZRANGE", KEYS[1], -1, -1, "WITHSCORES")[2]
for _, key in ipairs(KEYS) do
  if last == "inf" then redis.call("PERSIST", key) else redis.call("PEXPIREAT", key, last) end
end`;

/** KEYS: ends, since. */
const LIST = `${CLEAN}return redis.call("ZREVRANGE", KEYS[2], 0, -1)`;
