import { describeValue } from "../reporting/errors.ts";
import { type CommandBatch, type SetOptions, textOf } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { type Announcement, CommandExecutor, NO_ANNOUNCEMENT } from "./executor.ts";
import { type IndexChange, IndexCommands, ttlArgument } from "./index-commands.ts";
import { DELETE, INDEX_ACL, REPLACE, SAVE, type Script, TOUCH } from "./scripts.ts";
import type { Topology } from "./topology.ts";

/** The value of a key. */
export interface StoredValue {
  readonly text: string;
  /** When the key expires, by performance.now(), rather too early than too late; undefined for never. */
  readonly expiresAt: number | undefined;
}

/** How a touch has moved a session's expiry; "none" if there is no such session. */
export type ExpiryChange = "later" | "earlier" | "none";

/** A part of all session ids. */
export interface SidsPage {
  readonly sids: readonly string[];
  /** Where to continue; undefined after the last page. */
  readonly next: string | undefined;
}

/** A write to one session. */
export interface SessionWrite {
  readonly sid: string;
  /** How long the key lives from now on, in milliseconds; undefined for forever. */
  readonly ttlMs: number | undefined;
  /** How the write changes the index; undefined without an index. */
  readonly index: IndexChange | undefined;
}

/** What `write` writes. */
export interface SessionSave extends SessionWrite {
  readonly text: string;
  /** Whether nothing is written if the session does not exist. */
  readonly mustExist: boolean;
}

/** What `touch` changes. */
export interface SessionTouch extends SessionWrite {
  readonly ttlMs: number;
  /** Whether other processes could not expect it: it gives the session another lifetime than it had. */
  readonly isNews: boolean;
}

/** What `replace` writes, and over which value. */
export interface SessionReplacement extends SessionWrite {
  readonly text: string;
  readonly expected: string;
}

/** The result of `replace`; `current` is the value in Redis, null for none. */
export type ReplaceResult =
  | { readonly written: true }
  | { readonly written: false; readonly current: string | null };

/** Sessions to be deleted by one script. */
export interface SessionDeletion {
  /** One of the groups that `batches` returns. */
  readonly sids: readonly string[];
  /** The index value of all these sessions, if it is known. */
  readonly indexValue: string | undefined;
}

const FIRST_PAGE = "0:0";

/**
 * The sessions in Redis: which commands are sent, and what the replies mean. Independent of caches and states. Callers provide
 * the deadline, and the message that is published with a write.
 *
 * All methods reject with `SessionStoreError` `ERR_SESSION_REDIS` when the client or Redis refuses or fails.
 */
export class SessionCommands {
  readonly #topology: Topology;
  readonly #executor: CommandExecutor;
  readonly #index: IndexCommands;
  readonly #scanCount: number;

  constructor(topology: Topology, scanCount: number) {
    this.#topology = topology;
    this.#executor = new CommandExecutor(topology);
    this.#index = new IndexCommands(topology);
    this.#scanCount = scanCount;
  }

  /** A session's value and expiry, in one round trip. */
  async read(deadline: Deadline, sid: string): Promise<StoredValue | undefined> {
    const key = this.#topology.prefix + sid;
    const { replies, sentAt } = await this.#executor.send(deadline, {
      name: "GET",
      acl: "+get +pttl",
      target: { key },
      build: (batch) => batch.get(key).pTTL(key),
    });
    return storedValue(replies[0], replies[1], sentAt);
  }

  /** The values of several sessions; undefined for one that does not exist or is not a string. One round trip per batch. */
  async readMany(deadline: Deadline, sids: readonly string[]): Promise<(StoredValue | undefined)[]> {
    const batches = await Promise.all(
      this.batches(sids).map(async (group) => {
        const keys = group.map((sid) => this.#topology.prefix + sid);
        const { replies, sentAt } = await this.#executor.send(deadline, {
          name: "MGET",
          acl: "+mget +pttl",
          target: { key: keys[0] as string },
          build: (batch) => keys.reduce((pipeline, key) => pipeline.pTTL(key), batch.mGet(keys)),
        });
        const [texts, ...ttls] = replies as [unknown[], ...unknown[]];
        return texts.map((text, i) => storedValue(text, ttls[i], sentAt));
      }),
    );
    return batches.flat();
  }

  /**
   * Writes a session and publishes the announcement, both or neither. Without an index this is a transaction of plain
   * commands, which costs Redis half as much as a script.
   * @returns whether it was written: false if `mustExist` and it did not exist. The announcement is published in both cases.
   */
  async write(
    deadline: Deadline,
    save: SessionSave,
    announcement: Announcement | undefined,
  ): Promise<boolean> {
    const { sid, text, ttlMs, mustExist, index } = save;
    const changesIndex = index?.to !== undefined || index?.from !== undefined;
    if (changesIndex && this.#topology.combinesKeys) {
      const args = [text, mustExist ? "1" : "0"];
      return Number(await this.#runOnSession(deadline, SAVE, save, args, announcement)) === 1;
    }
    if (index?.to !== undefined) await this.#index.note(deadline, { sid, ttlMs, value: index.to });
    const key = this.#topology.prefix + sid;
    const options: SetOptions = {
      ...(ttlMs !== undefined && { expiration: { type: "PX", value: ttlMs } }),
      ...(mustExist && { condition: "XX" }),
    };
    const command = {
      name: "SET",
      acl: "+set",
      target: { key },
      build: (batch: CommandBatch) => batch.set(key, text, options),
    };
    const { replies } = await this.#executor.send(deadline, command, announcement);
    return replies[0] !== null;
  }

  /** Writes a session and publishes the announcement, both or neither, if Redis still holds the expected value. */
  async replace(
    deadline: Deadline,
    replacement: SessionReplacement,
    announcement: Announcement | undefined,
  ): Promise<ReplaceResult> {
    const args = [replacement.text, replacement.expected];
    const reply = await this.#runOnSession(deadline, REPLACE, replacement, args, announcement);
    const [written, current] = reply as [unknown, unknown];
    return Number(written) === 1 ? { written: true } : { written: false, current: textOf(current) };
  }

  /** Changes when a session expires. Publishes the announcement if the result is "earlier", or if `isNews` and it exists. */
  async touch(
    deadline: Deadline,
    touch: SessionTouch,
    announcement: Announcement | undefined,
  ): Promise<ExpiryChange> {
    const args = [touch.isNews ? "1" : "0"];
    return String(await this.#runOnSession(deadline, TOUCH, touch, args, announcement)) as ExpiryChange;
  }

  /**
   * Deletes sessions and publishes the announcement, both or neither, whether the sessions exist or not.
   * @returns how many existed
   */
  async delete(
    deadline: Deadline,
    { sids, indexValue }: SessionDeletion,
    announcement: Announcement | undefined,
  ): Promise<number> {
    const sets =
      indexValue === undefined || !this.#topology.combinesKeys ? [] : this.#index.keysFor(indexValue);
    const keys = [...sids.map((sid) => this.#topology.prefix + sid), ...sets];
    const call = { script: DELETE, keys, args: sids };
    return Number(await this.#executor.runScript(deadline, call, announcement ?? NO_ANNOUNCEMENT));
  }

  /**
   * Sessions in groups for one command or script each: as many as one message may name, or one where keys may not be
   * combined.
   */
  batches(sids: readonly string[]): (readonly string[])[] {
    if (!this.#topology.combinesKeys) return sids.map((sid) => [sid]);
    const batches: string[][] = [];
    let batch: string[] = [];
    let length = MAX_BATCH_LENGTH;
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
  publish(deadline: Deadline, announcement: Announcement): Promise<void> {
    return this.#executor.publish(deadline, announcement);
  }

  /** Resolves when Redis answers: in a Cluster, every primary. */
  async ping(deadline: Deadline): Promise<void> {
    const nodes = await this.#topology.nodes(deadline);
    const ping = (node: string) =>
      this.#executor.send(deadline, {
        name: "PING",
        acl: "+ping",
        target: { node },
        build: (batch) => batch.ping(),
      });
    await Promise.all(nodes.map(ping));
  }

  /**
   * The ids of all sessions, as SCAN returns them. A session that exists throughout is returned at least once, perhaps
   * twice; not if it moves to another primary of a Cluster meanwhile.
   * @param within runs each round trip under a deadline of its own
   * @param from where to begin: the `next` of an earlier page
   * @throws TypeError if `from` is not a `next`
   */
  async *pages(
    within: <T>(trip: (deadline: Deadline) => Promise<T>) => Promise<T>,
    from: string = FIRST_PAGE,
  ): AsyncGenerator<SidsPage> {
    const { fullPrefix } = this.#topology;
    const options = { MATCH: `${escapeGlob(fullPrefix)}*`, COUNT: this.#scanCount };
    const nodes = await within((deadline) => this.#topology.nodes(deadline));
    const start = /^(\d+):(\d+)$/.exec(from);
    let position = Number(start?.[1] ?? Number.NaN);
    let cursor = start?.[2] ?? "";
    if (!(position < nodes.length)) {
      throw new TypeError(
        `cursor: expected what an earlier run gave, of the same Redis, got ${describeValue(from)}`,
      );
    }
    while (position < nodes.length) {
      const command = {
        name: "SCAN",
        acl: "+scan",
        target: { node: nodes[position] as string },
        build: (batch: CommandBatch) => batch.scan(cursor, options),
      };
      const { replies } = await within((deadline) => this.#executor.send(deadline, command));
      const page = replies[0] as { cursor: unknown; keys: readonly unknown[] };
      cursor = String(page.cursor);
      if (cursor === "0") position++;
      const sids = page.keys.map((key) => String(key).slice(fullPrefix.length));
      yield { sids, next: position < nodes.length ? `${position}:${cursor}` : undefined };
    }
  }

  /** Runs a script that writes one session. In a Cluster its index entry is added before, since it has another slot. */
  async #runOnSession(
    deadline: Deadline,
    script: Script,
    { sid, ttlMs, index }: SessionWrite,
    args: readonly string[],
    announcement: Announcement | undefined,
  ): Promise<unknown> {
    let { to, from } = index ?? NO_INDEX_CHANGE;
    if (!this.#topology.combinesKeys) {
      if (to !== undefined) await this.#index.note(deadline, { sid, ttlMs, value: to });
      to = from = undefined;
    }
    const addTo = to === undefined ? [] : this.#index.keysFor(to);
    const removeFrom = from === undefined || from === to ? [] : this.#index.keysFor(from);
    const call = {
      script,
      keys: [this.#topology.prefix + sid, ...addTo, ...removeFrom],
      args: [ttlArgument(ttlMs), sid, to === undefined ? "0" : "1", ...args],
      extraAcl: addTo.length + removeFrom.length > 0 ? INDEX_ACL : "",
    };
    return this.#executor.runScript(deadline, call, announcement ?? NO_ANNOUNCEMENT);
  }
}

/** How many sessions one command, script or message may name. */
export const MAX_BATCH_SIZE: number = 1_000;

/** Characters of all ids in a batch. JSON may make six of one, and the message must stay below `MAX_MESSAGE_LENGTH`. */
const MAX_BATCH_LENGTH = 100 * 1024;

const NO_INDEX_CHANGE: IndexChange = { to: undefined, from: undefined };

/** The PTTL of a key that never expires. */
const NEVER = -1;

/** The ttl was right when the command arrived, so counting from when it was sent errs on the early side. */
function storedValue(value: unknown, ttl: unknown, sentAt: number): StoredValue | undefined {
  const text = textOf(value);
  const ttlMs = Number(ttl);
  // The key may have expired between the two commands, and only its ttl shows that.
  if (!text || ttlMs < NEVER) return undefined;
  return { text, expiresAt: ttlMs === NEVER ? undefined : sentAt + ttlMs };
}

/** Escapes SCAN's wildcards. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}
