import { describeValue } from "../reporting/errors.ts";
import { type SetOptions, textOf } from "./client.ts";
import type { Fill } from "./cluster-routing.ts";
import type { Deadline } from "./deadlines.ts";
import type { Announcement, RedisSender } from "./executor.ts";
import { DELETE, EXPIRE, REPLACE } from "./scripts.ts";

/** What a key holds. */
export interface StoredValue {
  readonly text: string;
  /** When the key expires, in milliseconds since 1970, told a moment early rather than late; undefined when never. */
  readonly expiresAt: number | undefined;
}

/** How a session's end has moved, as far as others care; "none" when there is no such session. */
export type EndChange = "later" | "earlier" | "none";

/** Some of all sessions' ids. */
export interface SidsPage {
  readonly sids: readonly string[];
  /** Where to go on; undefined when these are the last. */
  readonly next: string | undefined;
}

const FIRST_PAGE = "0:0";

/**
 * The sessions in Redis: which commands are sent, and what the replies mean. It knows nothing of caches and states;
 * whoever calls brings a deadline and the message to send with a write.
 */
export class SessionRepository {
  readonly #sender: RedisSender;
  readonly #prefix: string;
  readonly #scanCount: number;

  constructor(sender: RedisSender, scanCount: number) {
    this.#sender = sender;
    this.#prefix = sender.prefix;
    this.#scanCount = scanCount;
  }

  /** The key of a session, as it is named in errors. */
  keyOf(sid: string): string {
    return this.#sender.fullPrefix + sid;
  }

  /** The value of a session and when it expires, in one round trip. */
  async read(deadline: Deadline, sid: string): Promise<StoredValue | undefined> {
    const key = this.#prefix + sid;
    const fill: Fill = (batch) => batch.get(key).pTTL(key);
    const { replies, sentAt } = await this.#sender.send(deadline, "GET", key, fill);
    return storedValue(replies[0], replies[1], sentAt);
  }

  /** The values of several sessions; undefined where there is none, or no string. One round trip (one a key in Cluster). */
  async readAll(deadline: Deadline, sids: readonly string[]): Promise<(StoredValue | undefined)[]> {
    const groups = await Promise.all(
      this.grouped(sids).map(async (group) => {
        const keys = group.map((sid) => this.#prefix + sid);
        const fill: Fill = (batch) => keys.reduce((gathered, key) => gathered.pTTL(key), batch.mGet(keys));
        const { replies, sentAt } = await this.#sender.send(deadline, "MGET", keys[0], fill);
        const [texts, ...ttls] = replies as [unknown[], ...unknown[]];
        return texts.map((text, i) => storedValue(text, ttls[i], sentAt));
      }),
    );
    return groups.flat();
  }

  /**
   * Writes a session and announces it, as one.
   * @param ttlMs when the key is to expire; undefined for never
   * @param also what goes with it in one transaction
   * @returns whether it was written: false if `mustExist` and it did not
   */
  async write(
    deadline: Deadline,
    sid: string,
    text: string,
    ttlMs: number | undefined,
    announcement: Announcement | undefined,
    mustExist = false,
    also: Fill = nothing,
  ): Promise<boolean> {
    const key = this.#prefix + sid;
    const options: SetOptions = {
      ...(ttlMs !== undefined && { expiration: { type: "PX", value: ttlMs } }),
      ...(mustExist && { condition: "XX" }),
    };
    const fill: Fill = (batch) => also(batch.set(key, text, options));
    const together = announcement ?? (also === nothing ? undefined : "as a unit");
    const { replies } = await this.#sender.send(deadline, "SET", key, fill, together);
    return replies[0] !== null;
  }

  /**
   * Writes a session and announces it, as one, if Redis still holds what is expected.
   * @returns undefined when written; otherwise what Redis holds, null for nothing
   */
  async replace(
    deadline: Deadline,
    sid: string,
    expected: string,
    text: string,
    ttlMs: number | undefined,
    announcement: Announcement | undefined,
    also?: Fill,
  ): Promise<string | null | undefined> {
    const key = this.#prefix + sid;
    const given = [expected, text, String(ttlMs ?? "")];
    const reply = await this.#sender.evaluate(deadline, REPLACE, [key], given, announcement, also);
    const [isWritten, held] = reply as [unknown, unknown];
    return Number(isWritten) === 1 ? undefined : textOf(held);
  }

  /**
   * Gives a session a new end, and announces it, as one, if the end was a later one before: only Redis knows that, since
   * whoever prolonged it has told nobody.
   */
  async expire(
    deadline: Deadline,
    sid: string,
    ttlMs: number,
    announcement: Announcement | undefined,
    also?: Fill,
  ): Promise<EndChange> {
    const key = this.#prefix + sid;
    const reply = await this.#sender.evaluate(deadline, EXPIRE, [key], [String(ttlMs)], announcement, also);
    return String(reply) as EndChange;
  }

  /**
   * Sessions in groups that may be deleted as one: all together, as far as one message may name them, or in Cluster, where each
   * may be elsewhere, each alone.
   */
  grouped(sids: readonly string[]): (readonly string[])[] {
    if (this.#sender.routes !== undefined) return sids.map((sid) => [sid]);
    const groups: string[][] = [];
    let length = LONGEST_GROUP;
    for (const sid of sids) {
      length += sid.length;
      if (length > LONGEST_GROUP) {
        groups.push([]);
        length = sid.length;
      }
      groups.at(-1)?.push(sid);
    }
    return groups;
  }

  /**
   * Deletes a group of sessions and announces that, as one.
   * @param sets the sorted sets that name them, to name them no more
   * @returns how many there were
   */
  async delete(
    deadline: Deadline,
    group: readonly string[],
    announcement: Announcement | undefined,
    sets: readonly string[] = [],
  ): Promise<number> {
    const keys = [...group.map((sid) => this.#prefix + sid), ...sets];
    return Number(await this.#sender.evaluate(deadline, DELETE, keys, group, announcement));
  }

  async publish(deadline: Deadline, { channel, message }: Announcement): Promise<void> {
    await this.#sender.send(deadline, "PUBLISH", undefined, (batch) => batch.publish(channel, message));
  }

  /** Succeeds when Redis answers: in Cluster, all its primaries. */
  async ping(deadline: Deadline): Promise<void> {
    const primaries = await this.#sender.primaries(deadline);
    await Promise.all(primaries.map((primary) => this.#sender.ping(deadline, primary)));
  }

  /**
   * The ids of all sessions, in the batches of SCAN: one that exists throughout is met at least once, perhaps twice. (Not
   * one that moves to another primary of a Cluster meanwhile.)
   * @param within runs each round trip under a deadline of its own
   * @param from where to begin: what a page gave as `next`
   * @throws TypeError when `from` is none
   */
  async *pages(
    within: <T>(trip: (deadline: Deadline) => Promise<T>) => Promise<T>,
    from: string = FIRST_PAGE,
  ): AsyncGenerator<SidsPage> {
    const { fullPrefix } = this.#sender;
    const options = { MATCH: `${escapeGlob(fullPrefix)}*`, COUNT: this.#scanCount };
    const primaries = await within((deadline) => this.#sender.primaries(deadline));
    const begin = /^(\d+):(\d+)$/.exec(from);
    let turn = Number(begin?.[1] ?? Number.NaN);
    let cursor = begin?.[2] ?? "";
    if (!(turn < primaries.length)) {
      throw new TypeError(
        `cursor: expected what an earlier run gave, of the same Redis, got ${describeValue(from)}`,
      );
    }
    while (turn < primaries.length) {
      const fill: Fill = (batch) => batch.scan(cursor, options);
      const target = primaries[turn];
      const { replies } = await within((deadline) => this.#sender.send(deadline, "SCAN", target, fill));
      const page = replies[0] as { cursor: unknown; keys: readonly unknown[] };
      cursor = String(page.cursor);
      if (cursor === "0") turn++;
      const sids = page.keys.map((key) => String(key).slice(fullPrefix.length));
      yield { sids, next: turn < primaries.length ? `${turn}:${cursor}` : undefined };
    }
  }
}

/** Characters of all ids. JSON may make six of one, and the message must stay below `MAX_MESSAGE_LENGTH`. */
const LONGEST_GROUP = 100 * 1024;

const NEVER = -1;

const nothing: Fill = (batch) => batch;

/** The TTL was true when the command arrived, so counting from when it was sent errs on the early side. */
function storedValue(value: unknown, ttl: unknown, sentAt: number): StoredValue | undefined {
  const text = textOf(value);
  const ttlMs = Number(ttl);
  // Between the two commands the key may have expired; its TTL says so, and nothing else would.
  if (!text || ttlMs < NEVER) return undefined;
  return { text, expiresAt: ttlMs === NEVER ? undefined : sentAt + ttlMs };
}

/** What SCAN's MATCH would take for a wildcard stands for itself. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}
