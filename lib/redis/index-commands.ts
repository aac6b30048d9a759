import type { Deadline } from "./deadlines.ts";
import type { CommandExecutor } from "./executor.ts";
import { asArray, asTexts } from "./replies.ts";
import { ADD_INDEX_ENTRY, LIST_INDEX, REMOVE_LISTED, REMOVE_OUTDATED } from "./scripts.ts";
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
    await this.#executor.runScript(deadline, { script: ADD_INDEX_ENTRY, keys: this.keysFor(value), args });
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
