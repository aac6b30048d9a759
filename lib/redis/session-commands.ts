import { errorMessage } from "../reporting/errors.ts";
import type { CommandBatch, SetOptions } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { type Announcement, CommandExecutor, type OpenAnnouncement, type ScriptCall } from "./executor.ts";
import { IndexCommands } from "./index-commands.ts";
import { asArray, asInteger, asText, asTexts, MAX_VALUE_BYTES, requireReadable } from "./replies.ts";
import { DELETE, DELETE_UNCHANGED, INDEX_ACL, INDEX_REMOVAL_ACL, SAVE, TOUCH } from "./scripts.ts";
import type {
  ChangedValue,
  ExpiryChange,
  NamedSession,
  ReplaceResult,
  SessionDeletion,
  SessionReplacement,
  SessionRewrite,
  SessionSave,
  SessionTouch,
  SessionWrite,
  StoredValue,
  SubscribedRead,
  UnchangedDeletion,
  UnchangedTouch,
} from "./session-values.ts";
import { MAX_BATCH_LENGTH, MAX_BATCH_SIZE } from "./session-values.ts";
import type { Topology } from "./topology.ts";
import { WriteGroups } from "./write-groups.ts";

/**
 * The sessions in Redis: which commands are sent, and what the replies mean. Independent of caches and states. Callers provide
 * the deadline, and the message that is published with a write.
 *
 * All methods reject with `SessionStoreError` `ERR_SESSION_REDIS` when the client or Redis refuses or fails.
 */
export class SessionCommands {
  readonly #topology: Topology;
  readonly #executor: CommandExecutor;
  readonly #groups: WriteGroups;
  readonly index: IndexCommands;

  constructor(topology: Topology) {
    this.#topology = topology;
    this.#executor = new CommandExecutor(topology);
    this.#groups = new WriteGroups(topology);
    this.index = new IndexCommands(topology, this.#executor);
  }

  /** A read of a session on a subscriber's connection. It results in "long" for a value that is too long for that. */
  subscribedRead(sid: string): SubscribedRead<StoredValue | "long" | undefined> {
    // The connection has no `keyPrefix`.
    const key = this.#topology.fullPrefix + sid;
    return {
      build: (batch) => batch.getRange(key, 0, MAX_SUBSCRIBER_VALUE_BYTES).pTTL(key),
      parse: ([value, ttl], sentAt) => {
        const stored = this.#storedValue(value, ttl, sentAt);
        if (stored === undefined || stored.value.length * 3 <= MAX_SUBSCRIBER_VALUE_BYTES) return stored;
        return Buffer.byteLength(stored.value) > MAX_SUBSCRIBER_VALUE_BYTES ? "long" : stored;
      },
    };
  }

  /** A session's value and expiry, in one round trip. */
  read(deadline: Deadline, sid: string): Promise<StoredValue | undefined> {
    return this.#readBatch(deadline, [sid]).then(([stored]) => stored);
  }

  /** The values of several sessions; undefined for one that does not exist or is not a string. One round trip per batch. */
  async readMany(deadline: Deadline, sids: readonly string[]): Promise<(StoredValue | undefined)[]> {
    const batches = this.batches(sids).map((batch) =>
      this.#readBatch(deadline, batch).catch((error: unknown) => {
        requireWrongType(error);
        // The error does not say of which key.
        return Promise.all(batch.map((sid) => this.read(deadline, sid).catch(requireWrongType)));
      }),
    );
    return (await Promise.all(batches)).flat();
  }

  /** Which of several sessions exist, without reading them. One round trip per batch. */
  async existing(deadline: Deadline, sids: readonly string[]): Promise<string[]> {
    const batches = this.batches(sids).map(async (batch) => {
      const keys = batch.map((sid) => this.#topology.prefix + sid);
      const replies = await this.#executor.send(deadline, {
        name: "PTTL",
        acl: "+pttl",
        target: { key: keys[0] as string },
        build: (pipeline) => keys.reduce((all, key) => all.pTTL(key), pipeline),
      });
      const ttls = replies.map((reply) => asInteger(reply) ?? this.#executor.unexpected("PTTL", reply));
      return batch.filter((_, i) => (ttls[i] as number) >= NEVER);
    });
    return (await Promise.all(batches)).flat();
  }

  /**
   * Writes a session and publishes the announcement, both or neither. Without an index this is a transaction of plain commands, if
   * the client has any.
   * @returns whether it was written: false if `mustExist` and it did not exist. The announcement is published in both cases.
   */
  write(deadline: Deadline, save: SessionSave, announcement: Announcement | undefined): Promise<boolean> {
    const { sid, value, ttlMs, mustExist, index } = save;
    const changesIndex = index?.to !== undefined || index?.from !== undefined;
    if (changesIndex || !this.#topology.hasTransactions) {
      const call = { script: SAVE, args: [value, mustExist ? "1" : "0"], as: asBoolean };
      return this.#runOnSession(deadline, save, call, announcement);
    }
    const key = this.#topology.prefix + sid;
    const options: SetOptions = {};
    if (ttlMs !== undefined) options.expiration = { type: "PX", value: ttlMs };
    if (mustExist) options.condition = "XX";
    if (announcement === undefined) {
      const build = (batch: CommandBatch) => batch.set(key, value, options);
      const sending = this.#executor.send(deadline, { name: "SET", acl: "+set", target: { key }, build });
      return sending.then((replies) => this.#isWritten(replies));
    }
    const { channel, message } = announcement;
    const build = (batch: CommandBatch) => batch.set(key, value, options).publish(channel, message);
    return new Promise((resolve, reject) => {
      const onReplies = (replies: readonly unknown[]) => {
        try {
          resolve(this.#isWritten(replies));
        } catch (error) {
          reject(error);
        }
      };
      const onError = (error: unknown) =>
        reject(this.#executor.errorOf("SET", error, "+set +multi +exec", announcement));
      this.#groups.send({ deadline, build, bytes: value.length, onReplies, onError });
    });
  }

  /** Whether a SET has written, as its reply says. */
  #isWritten([reply]: readonly unknown[]): boolean {
    return reply !== null && (asText(reply) === "OK" || this.#executor.unexpected("SET", reply));
  }

  /** Writes a session and publishes the announcement, both or neither, if Redis still holds the expected value. */
  async replace(
    deadline: Deadline,
    replacement: SessionReplacement,
    announcement: Announcement | undefined,
  ): Promise<ReplaceResult> {
    const { value, expected } = replacement;
    const call = { script: SAVE, args: [value, "0", expected], extraAcl: "+get" };
    return this.#replaceResult(await this.#runOnSession(deadline, replacement, call, announcement));
  }

  /** Writes another form of a session's value, if Redis still holds the expected one; its expiry stays. */
  async rewrite(deadline: Deadline, { sid, value, expected }: SessionRewrite): Promise<ReplaceResult> {
    const keys = [this.#topology.prefix + sid];
    const call = { script: SAVE, keys, args: ["KEEPTTL", sid, "0", value, "0", expected], extraAcl: "+get" };
    return this.#replaceResult(await this.#executor.runScript(deadline, call));
  }

  #replaceResult(reply: unknown): ReplaceResult {
    const [written, current = null] = asArray(reply) ?? this.#executor.unexpected("EVALSHA", reply);
    if (asInteger(written) === 1) return { written: true };
    if (current === null) return { written: false, current };
    const value = asText(current) ?? this.#executor.unexpected("EVALSHA", current);
    return { written: false, current: requireReadable(value) };
  }

  /** Changes when a session expires. Publishes the announcement if the result is "earlier", or if `isNews` and it exists. */
  touch(
    deadline: Deadline,
    { sid, ttlMs, isNews }: SessionTouch,
    announcement: Announcement | undefined,
  ): Promise<ExpiryChange> {
    const call = { script: TOUCH, args: [isNews ? "1" : "0"], as: asExpiryChange };
    return this.#runOnSession(deadline, { sid, ttlMs, index: undefined }, call, announcement);
  }

  /** The same together with the index, if the session has the expected value. @returns its value if it has another */
  touchUnchanged(
    deadline: Deadline,
    touch: UnchangedTouch,
    announcement: Announcement | undefined,
  ): Promise<ExpiryChange | ChangedValue> {
    const args = [touch.isNews ? "1" : "0", touch.expectedSha1 ?? ""];
    const as = (reply: unknown) => asExpiryChange(reply) ?? asChangedValue(reply);
    return this.#runOnSession(deadline, touch, { script: TOUCH, args, as }, announcement);
  }

  /**
   * Deletes sessions and publishes the announcement, both or neither, whether the sessions exist or not.
   * @returns how many existed
   */
  delete(
    deadline: Deadline,
    { sids, indexValue }: SessionDeletion,
    announcement: Announcement | undefined,
  ): Promise<number> {
    const call = { script: DELETE, ...this.#keysToDelete(sids, indexValue), args: sids, as: asInteger };
    return this.#executor.runScript(deadline, call, announcement);
  }

  /**
   * Deletes those sessions that still have the value that was examined, and publishes the announcement with their ids, both or
   * neither; nothing if there are none.
   * @param sessions no more than one of the groups that `batches` returns
   * @returns what became of each
   */
  async deleteUnchanged(
    deadline: Deadline,
    sessions: readonly NamedSession[],
    indexValue: string | undefined,
    announcement: OpenAnnouncement | undefined,
  ): Promise<UnchangedDeletion[]> {
    const sids = sessions.map(({ sid }) => sid);
    const toPublish = announcement && { channel: announcement.channel, message: announcement.head };
    const call = {
      script: DELETE_UNCHANGED,
      ...this.#keysToDelete(sids, indexValue),
      args: [
        announcement?.tail ?? "",
        ...sessions.flatMap(({ sid, sha1, isNamed }) => [sid, isNamed ? JSON.stringify(sid) : "", sha1]),
      ],
      as: asArray,
    };
    const sentAt = performance.now();
    const results = await this.#executor.runScript(deadline, call, toPublish);
    return results.map((result) => {
      if (!Array.isArray(result)) {
        const isDeleted = asInteger(result) ?? this.#executor.unexpected("EVALSHA", result);
        return isDeleted === 1 ? "deleted" : "missing";
      }
      const [value, sha1, ttl] = result as unknown[];
      const stored = this.#storedValue(value, ttl, sentAt);
      return stored === undefined ? "missing" : { ...stored, sha1: String(sha1) };
    });
  }

  /**
   * Sessions in groups for one command or script each: as many as one message may name, or one where keys may not be
   * combined.
   */
  batches(sids: readonly string[]): (readonly string[])[] {
    if (!this.#topology.combinesKeys) return sids.map((sid) => [sid]);
    const batches: string[][] = [];
    let batch: string[] = [];
    // The first one begins a batch, even if it is empty: a key may be the prefix alone.
    let length = Number.POSITIVE_INFINITY;
    for (const sid of sids) {
      length += sid.length;
      if (length > MAX_BATCH_LENGTH || batch.length === MAX_BATCH_SIZE) {
        batch = [];
        batches.push(batch);
        length = sid.length;
      }
      batch.push(sid);
    }
    return batches;
  }

  /** Publishes a message that belongs to no write. */
  async publish(deadline: Deadline, { channel, message }: Announcement): Promise<void> {
    const acl = "+publish and the channel";
    const build = (batch: CommandBatch) => batch.publish(channel, message);
    await this.#executor.send(deadline, { name: "PUBLISH", acl, target: "any", build });
  }

  /** Resolves when Redis answers a read: in a Cluster, every primary. */
  async probe(deadline: Deadline): Promise<void> {
    const { probe } = this.#topology;
    const ask = (primary: string) => this.#executor.send(deadline, { ...probe, target: { primary } });
    await Promise.all((await this.#topology.primaryIds(deadline)).map(ask));
  }

  #readBatch(deadline: Deadline, sids: readonly string[]): Promise<(StoredValue | undefined)[]> {
    const keys = sids.map((sid) => this.#topology.prefix + sid);
    let sentAt = 0;
    const build = (batch: CommandBatch) => {
      sentAt = performance.now();
      return keys.reduce((pipeline, key) => pipeline.getRange(key, 0, MAX_VALUE_BYTES).pTTL(key), batch);
    };
    const target = { key: keys[0] as string };
    const command = { name: "GETRANGE", acl: "+getrange +pttl", target, build };
    return this.#executor
      .send(deadline, command)
      .then((replies) => keys.map((_, i) => this.#storedValue(replies[2 * i], replies[2 * i + 1], sentAt)));
  }

  /** The keys of sessions, and the index sets that they are in, if scripts may use both. */
  #keysToDelete(sids: readonly string[], indexValue: string | undefined) {
    const keys = sids.map((sid) => this.#topology.prefix + sid);
    if (indexValue === undefined || !this.#topology.combinesKeys) return { keys };
    return { keys: [...keys, ...this.index.keysFor(indexValue)], extraAcl: INDEX_REMOVAL_ACL };
  }

  /** The ttl was right when the command arrived, so counting from when it was sent errs on the early side. */
  #storedValue(reply: unknown, ttl: unknown, sentAt: number): StoredValue | undefined {
    const value = asText(reply) ?? this.#executor.unexpected("GETRANGE", reply);
    const ttlMs = asInteger(ttl) ?? this.#executor.unexpected("PTTL", ttl);
    // The key may have expired between the two commands, and only its ttl shows that.
    if (value === "" || ttlMs < NEVER) return undefined;
    return { value, expiresAt: ttlMs === NEVER ? undefined : sentAt + ttlMs };
  }

  /** Runs a script that writes one session. In a Cluster its index entry is added before, since it has another slot. */
  #runOnSession<T>(
    deadline: Deadline,
    { sid, ttlMs, index }: SessionWrite,
    call: Omit<ScriptCall<T>, "keys">,
    announcement: Announcement | undefined,
  ): Promise<T> {
    const { combinesKeys, prefix } = this.#topology;
    const to = combinesKeys ? index?.to : undefined;
    const from = combinesKeys ? index?.from : undefined;
    const addTo = to === undefined ? [] : this.index.keysFor(to);
    const removeFrom = from === undefined || from === to ? [] : this.index.keysFor(from);
    const onSession = {
      ...call,
      keys: [prefix + sid, ...addTo, ...removeFrom],
      args: [String(ttlMs ?? ""), sid, to === undefined ? "0" : "1", ...call.args],
      extraAcl: index === undefined ? call.extraAcl : INDEX_ACL,
    };
    const run = () => this.#executor.runScript(deadline, onSession, announcement);
    if (combinesKeys || index?.to === undefined) return run();
    return this.index.add(deadline, { sid, ttlMs, value: index.to }).then(run);
  }
}

/**
 * The longest value that is read on a subscriber's connection, in bytes. Redis closes that connection if too many replies wait
 * there (`client-output-buffer-limit pubsub`, by default 8 MiB).
 */
const MAX_SUBSCRIBER_VALUE_BYTES = 16 * 1024;

/** The PTTL of a key that never expires. */
const NEVER = -1;

function asBoolean(reply: unknown): boolean | undefined {
  const integer = asInteger(reply);
  return integer === undefined ? undefined : integer === 1;
}

function asExpiryChange(reply: unknown): ExpiryChange | undefined {
  const text = asText(reply);
  return text === "later" || text === "earlier" || text === "none" ? text : undefined;
}

function asChangedValue(reply: unknown): ChangedValue | undefined {
  const [value, sha1] = asTexts(reply) ?? [];
  return value === undefined || sha1 === undefined ? undefined : { value, sha1 };
}

/** @throws any other error than that a key is not a string */
function requireWrongType(error: unknown): undefined {
  if (!errorMessage((error as Error).cause).startsWith("WRONGTYPE")) throw error;
}
