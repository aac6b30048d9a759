import type { Deadline } from "./deadlines.ts";
import { CommandExecutor } from "./executor.ts";
import { asTexts } from "./replies.ts";
import { LIST_INDEX, NOTE_IN_INDEX } from "./scripts.ts";
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
 * 4. **Entries are removed earlier only together with the write** that deletes the session or gives it another value. In a
 *    Cluster that is impossible, and an entry removed separately could be one that has just been added.
 */
export class IndexCommands {
  readonly #executor: CommandExecutor;
  readonly #prefix: string;

  constructor(topology: Topology) {
    this.#executor = new CommandExecutor(topology);
    this.#prefix = topology.prefix;
  }

  /** Adds a session that exists, or is about to be written. */
  async note(deadline: Deadline, { sid, ttlMs, value }: IndexEntry): Promise<void> {
    const args = [sid, ttlArgument(ttlMs)];
    await this.#executor.runScript(deadline, { script: NOTE_IN_INDEX, keys: this.keysFor(value), args });
  }

  /** The ids of the sessions noted for a value, newest first; some of them may not exist. */
  async list(deadline: Deadline, value: string): Promise<string[]> {
    const call = { script: LIST_INDEX, keys: this.keysFor(value), args: [] };
    return this.#executor.read("EVALSHA", await this.#executor.runScript(deadline, call), asTexts);
  }

  /** The sets of a value: when its sessions end, and since when they have been known. */
  keysFor(value: string): readonly [ends: string, since: string] {
    const base = `${INDEX_PREFIX}${this.#prefix}${value}}`;
    return [`${base}:ends`, `${base}:since`];
  }
}

/** A ttl as an argument of a script: whole milliseconds, or empty for never. */
export function ttlArgument(ttlMs: number | undefined): string {
  return ttlMs === undefined ? "" : String(Math.ceil(ttlMs));
}
