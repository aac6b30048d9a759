import type { IndexChange } from "./index-commands.ts";
import type { BatchBuilder } from "./topology.ts";

/** How many sessions one command, script or message may name. */
export const MAX_BATCH_SIZE: number = 1_000;

/** Characters of all ids in a batch. JSON may make six of one, and the message must stay below `MAX_MESSAGE_LENGTH`. */
export const MAX_BATCH_LENGTH: number = 100 * 1024;

/** The value of a key. */
export interface StoredValue {
  /** Cut off after `MAX_VALUE_BYTES` + 1 bytes. */
  readonly value: string;
  /** When the key expires, by performance.now(), rather too early than too late; undefined for never. */
  readonly expiresAt: number | undefined;
}

/** A read on a subscriber's connection. */
export interface SubscribedRead<T> {
  readonly build: BatchBuilder;
  /**
   * The result.
   * @param sentAt when the read was sent, by performance.now()
   * @throws SessionStoreError `ERR_SESSION_REDIS` if these are the replies to other commands
   */
  readonly parse: (replies: readonly unknown[], sentAt: number) => T;
}

/** How a touch has moved a session's expiry; "none" if there is no such session. */
export type ExpiryChange = "later" | "earlier" | "none";

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
  readonly value: string;
  /** Whether nothing is written if the session does not exist. */
  readonly mustExist: boolean;
}

/** What `touch` changes. */
export interface SessionTouch {
  readonly sid: string;
  /** How long the key lives from now on, in milliseconds. */
  readonly ttlMs: number;
  /** Whether other processes could not expect it: it gives the session another lifetime than it had. */
  readonly isNews: boolean;
}

/** What `touchUnchanged` changes, and for which value. */
export interface UnchangedTouch extends SessionTouch {
  readonly index: IndexChange;
  /** The SHA-1 of the value that `index` is right for; undefined if the value is unknown. */
  readonly expectedSha1: string | undefined;
}

/** The value of a key that is not what was expected. */
export interface ChangedValue {
  readonly value: string;
  /** Of the bytes in Redis; of `value` it differs if they are not valid UTF-8. */
  readonly sha1: string;
}

/** What `replace` writes, and over which value. */
export interface SessionReplacement extends SessionWrite {
  readonly value: string;
  readonly expected: string;
}

/** What `rewrite` writes, and over which value. */
export type SessionRewrite = Pick<SessionReplacement, "sid" | "value" | "expected">;

/** The result of `replace` and `rewrite`; `current` is the value in Redis, null for none. */
export type ReplaceResult =
  | { readonly written: true }
  | { readonly written: false; readonly current: string | null };

/** A session, and the value by which it was decided to delete it. */
export interface ExaminedSession {
  readonly sid: string;
  /** The SHA-1 of the value. */
  readonly sha1: string;
}

/** One that is to be deleted. */
export interface NamedSession extends ExaminedSession {
  /** Whether the message may name it: what SCAN returns need not be a valid id, and receivers ignore a message with another. */
  readonly isNamed: boolean;
}

/** What became of a session that was to be deleted: `missing` if there was none, its present value if it has changed. */
export type UnchangedDeletion = "deleted" | "missing" | (StoredValue & ChangedValue);

/** Sessions to be deleted by one script. */
export interface SessionDeletion {
  /** One of the groups that `batches` returns. */
  readonly sids: readonly string[];
  /** The index value of all these sessions, if it is known. */
  readonly indexValue: string | undefined;
}
