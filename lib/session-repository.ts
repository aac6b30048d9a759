import { createHash } from "node:crypto";
import { ClientReadiness } from "./client-readiness.ts";
import type { Deadline } from "./deadlines.ts";
import { reasonOf, SessionStoreError } from "./errors.ts";
import {
  batchOn,
  type CommandBatch,
  keyPrefixOf,
  kindOf,
  type RedisStoreClient,
  type ScriptArguments,
  textOf,
} from "./redis-client.ts";

/** What a key holds. */
export interface StoredValue {
  readonly text: string;
  /** When the key expires, in milliseconds since 1970, told a moment early rather than late; undefined when never. */
  readonly expiresAt: number | undefined;
}

/** A message that must reach the other processes if, and only if, the write it goes with is carried out. */
export interface Announcement {
  readonly channel: string;
  readonly message: string;
}

/** How a session's end has moved, as far as others care; "none" when there is no such session. */
export type EndChange = "later" | "earlier" | "none";

interface ClusterNodes {
  readonly masters: readonly unknown[];
  nodeClient(master: unknown): RedisStoreClient | Promise<RedisStoreClient>;
}

/**
 * The sessions in Redis: which commands are sent, to whom, and what the replies mean. It knows nothing of caches and
 * states; whoever calls brings a deadline and the message to send with a write.
 *
 * All commands go through `multi()`, because that is what every kind of client has alike: as a pipeline for reads, as a
 * transaction for a write and its message. Its batches bypass node-redis's own client-side cache and the timer that it
 * would start for each single command.
 */
export class SessionRepository {
  readonly #client: RedisStoreClient;
  readonly #readiness: ClientReadiness;
  readonly #prefix: string;
  readonly #clientPrefix: string;
  readonly #scanCount: number;
  readonly #isCluster: boolean;

  constructor(client: RedisStoreClient, prefix: string, scanCount: number) {
    this.#client = client;
    this.#readiness = new ClientReadiness(client);
    this.#prefix = prefix;
    this.#clientPrefix = keyPrefixOf(client);
    this.#scanCount = scanCount;
    this.#isCluster = kindOf(client) === "cluster";
  }

  /** What stands before a session's id in Redis, the client's own `keyPrefix` included. */
  get fullPrefix(): string {
    return this.#clientPrefix + this.#prefix;
  }

  /** The key of a session, as it is named in errors. */
  keyOf(sid: string): string {
    return this.fullPrefix + sid;
  }

  /** The value of a session and when it expires, in one round trip. */
  async read(deadline: Deadline, sid: string): Promise<StoredValue | undefined> {
    const key = this.#prefix + sid;
    const { replies, sentAt } = await this.#send(deadline, "GET", (batch) =>
      batch.get(key).pTTL(key).execAsPipeline(),
    );
    return storedValue(replies[0], replies[1], sentAt);
  }

  /** The values of several sessions; undefined where there is none, or no string. One round trip (one a key in Cluster). */
  async readAll(deadline: Deadline, sids: readonly string[]): Promise<(StoredValue | undefined)[]> {
    const groups = await Promise.all(
      this.#grouped(sids).map(async (group) => {
        const keys = group.map((sid) => this.#prefix + sid);
        const { replies, sentAt } = await this.#send(deadline, "MGET", (batch) =>
          keys.reduce((gathered, key) => gathered.pTTL(key), batch.mGet(keys)).execAsPipeline(),
        );
        const [texts, ...ttls] = replies as [unknown[], ...unknown[]];
        return texts.map((text, i) => storedValue(text, ttls[i], sentAt));
      }),
    );
    return groups.flat();
  }

  /**
   * Writes a session and announces it, as one.
   * @param ttlMs when the key is to expire; undefined for never
   * @returns whether it was written: false if `mustExist` and it did not
   */
  async write(
    deadline: Deadline,
    sid: string,
    text: string,
    ttlMs: number | undefined,
    announcement: Announcement | undefined,
    mustExist = false,
  ): Promise<boolean> {
    const { replies } = await this.#send(deadline, "SET", (batch) => {
      batch.set(this.#prefix + sid, text, {
        ...(ttlMs !== undefined && { expiration: { type: "PX", value: ttlMs } }),
        ...(mustExist && { condition: "XX" }),
      });
      return execWith(batch, announcement);
    });
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
  ): Promise<string | null | undefined> {
    const script = {
      keys: [this.#prefix + sid],
      arguments: [
        expected,
        text,
        String(ttlMs ?? ""),
        announcement?.channel ?? "",
        announcement?.message ?? "",
      ],
    };
    const reply = await this.#evaluate(deadline, REPLACE, script);
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
  ): Promise<EndChange> {
    const reply = await this.#evaluate(deadline, EXPIRE, {
      keys: [this.#prefix + sid],
      arguments: [String(ttlMs), announcement?.channel ?? "", announcement?.message ?? ""],
    });
    return String(reply) as EndChange;
  }

  /** Deletes sessions and announces that, as one (in Cluster: as one for each key). @returns how many there were */
  async delete(
    deadline: Deadline,
    sids: readonly string[],
    announcement: Announcement | undefined,
  ): Promise<number> {
    const counts = await Promise.all(
      this.#grouped(sids).map(async (group) => {
        const keys = group.map((sid) => this.#prefix + sid);
        const { replies } = await this.#send(deadline, "DEL", (batch) =>
          execWith(batch.del(keys), announcement),
        );
        return Number(replies[0]);
      }),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async publish(deadline: Deadline, { channel, message }: Announcement): Promise<void> {
    await this.#send(deadline, "PUBLISH", (batch) => batch.publish(channel, message).execAsPipeline());
  }

  async ping(deadline: Deadline): Promise<void> {
    await this.#send(deadline, "PING", (batch) => batch.ping().execAsPipeline());
  }

  /**
   * The ids of all sessions, in the batches of SCAN: one that exists throughout is met at least once, perhaps twice.
   * @param within runs each round trip under a deadline of its own
   */
  async *scan(within: <T>(trip: (deadline: Deadline) => Promise<T>) => Promise<T>): AsyncGenerator<string[]> {
    const options = { MATCH: `${escapeGlob(this.fullPrefix)}*`, COUNT: this.#scanCount };
    const skip = this.fullPrefix.length;
    for (const node of await this.#nodes()) {
      let cursor = "0";
      do {
        const { replies } = await within((deadline) =>
          this.#send(deadline, "SCAN", (batch) => batch.scan(cursor, options).execAsPipeline(), node),
        );
        const page = replies[0] as { cursor: unknown; keys: readonly unknown[] };
        cursor = String(page.cursor);
        if (page.keys.length > 0) yield page.keys.map((key) => String(key).slice(skip));
      } while (cursor !== "0");
    }
  }

  async #nodes(): Promise<readonly RedisStoreClient[]> {
    if (!this.#isCluster) return [this.#client];
    const cluster = this.#client as unknown as ClusterNodes;
    return Promise.all(cluster.masters.map((master) => cluster.nodeClient(master)));
  }

  /** Keys that one transaction may touch together: all of them, or in Cluster, where each may be elsewhere, each alone. */
  #grouped(sids: readonly string[]): (readonly string[])[] {
    return this.#isCluster ? sids.map((sid) => [sid]) : [sids];
  }

  async #evaluate(deadline: Deadline, script: Script, given: ScriptArguments): Promise<unknown> {
    const { replies } = await this.#send(deadline, "EVALSHA", (batch) =>
      batch
        .evalSha(script.sha1, given)
        .execAsPipeline()
        .catch((error: Error) => {
          if (!error.message.startsWith("NOSCRIPT")) throw error;
          return batchOn(this.#client).eval(script.source, given).execAsPipeline();
        }),
    );
    return replies[0];
  }

  async #send(
    deadline: Deadline,
    what: string,
    exec: (batch: CommandBatch) => Promise<unknown[]>,
    client: RedisStoreClient = this.#client,
  ): Promise<{ replies: unknown[]; sentAt: number }> {
    try {
      if (this.#readiness.mustWait) await this.#readiness.whenReady(deadline);
      const sentAt = Date.now();
      return { replies: await exec(batchOn(client)), sentAt };
    } catch (cause) {
      throw new SessionStoreError("ERR_SESSION_REDIS", `${what}: ${reasonOf(cause)}`, cause);
    }
  }
}

interface Script {
  readonly source: string;
  readonly sha1: string;
}

/** KEYS: the session. ARGV: expected value, new value, milliseconds or nothing, channel or nothing, message. */
const REPLACE = script(`local held = redis.call("GET", KEYS[1])
if held ~= ARGV[1] then return {0, held} end
if ARGV[3] == "" then redis.call("SET", KEYS[1], ARGV[2]) else redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3]) end
if ARGV[4] ~= "" then redis.call("PUBLISH", ARGV[4], ARGV[5]) end
return {1}`);

/** KEYS: the session. ARGV: milliseconds, channel or nothing, message. A PTTL of -1 is one that never ended. */
const EXPIRE = script(`local was = redis.call("PTTL", KEYS[1])
if redis.call("PEXPIRE", KEYS[1], ARGV[1]) == 0 then return "none" end
if was >= 0 and was <= tonumber(ARGV[1]) then return "later" end
if ARGV[2] ~= "" then redis.call("PUBLISH", ARGV[2], ARGV[3]) end
return "earlier"`);

function script(source: string): Script {
  return { source, sha1: createHash("sha1").update(source).digest("hex") };
}

function execWith(batch: CommandBatch, announcement: Announcement | undefined): Promise<unknown[]> {
  if (announcement === undefined) return batch.execAsPipeline();
  return batch.publish(announcement.channel, announcement.message).exec();
}

const NEVER = -1;

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
