import { MAX_BATCH_SIZE } from "../redis/session-commands.ts";
import { isPrintable, isWellFormed } from "../reporting/text.ts";

/** The version of the wire format. A process ignores messages of versions that it does not know. */
export const MESSAGE_VERSION: number = 1;

/** The longest session id, in characters. */
export const MAX_SID_LENGTH: number = 1_024;

/** The longest label of a process, in characters. */
export const MAX_LABEL_LENGTH: number = 256;

/**
 * Longer texts are ignored without being parsed. The most ids of the greatest length fit, with the longest prefix and label;
 * the store's own batches stay below even if JSON escapes each character.
 */
export const MAX_MESSAGE_LENGTH: number = 1024 * 1024;

/** The method that deleted sessions. */
export type DestroyReason = "destroy" | "destroyWhere" | "destroyOf" | "destroyAllOf" | "clear";

const REASONS: readonly unknown[] = [
  "destroy",
  "destroyWhere",
  "destroyOf",
  "destroyAllOf",
  "clear",
] satisfies DestroyReason[];

/** What processes publish to each other. */
export type ClusterMessage = SessionInvalidated | SessionDeleted | CacheClear;

/** Sessions were written: invalidate them. */
export interface SessionInvalidated extends MessageBase {
  /** The kind of message. */
  readonly type: "SessionInvalidated";
  /** The ids of the sessions, without the prefix. */
  readonly sids: readonly string[];
}

/** Sessions were deleted: invalidate them. */
export interface SessionDeleted extends MessageBase {
  /** The kind of message. */
  readonly type: "SessionDeleted";
  /** The ids of the sessions, without the prefix. */
  readonly sids: readonly string[];
  /** The method that deleted them. */
  readonly reason: DestroyReason;
}

/** All sessions are being deleted: drop the whole cache. */
export interface CacheClear extends MessageBase {
  /** The kind of message. */
  readonly type: "CacheClear";
}

interface MessageBase {
  /** The random id of the store that sent it. */
  readonly instanceId: string;
  /** Numbers the sender's writes from 1. */
  readonly sequence: number;
  /** The sender's label, for logs. */
  readonly nodeId: string;
  /** What precedes the session ids in Redis. */
  readonly prefix: string;
  /** When it was sent, in milliseconds since 1970 by the sender's clock; for people, no decision depends on it. */
  readonly sentAt: number;
}

/** A message without its sender. */
export type MessageContent =
  | MessagePayload<SessionInvalidated>
  | MessagePayload<SessionDeleted>
  | MessagePayload<CacheClear>;

type MessagePayload<M extends ClusterMessage> = Omit<M, keyof MessageBase>;

/** A message as the text that is published. */
export function encodeMessage(message: ClusterMessage): string {
  return JSON.stringify({ version: MESSAGE_VERSION, ...message });
}

/**
 * The text of a message without ids, in two parts: a script inserts ids between them, as JSON separated by commas.
 *
 * No other part of the text looks like `"sids":[]`, since JSON escapes quotes within strings.
 */
export function splitAtSids(text: string): { readonly head: string; readonly tail: string } {
  const at = text.indexOf('"sids":[]') + '"sids":['.length;
  return { head: text.slice(0, at), tail: text.slice(at) };
}

/** The message in a text, or undefined: messages are untrusted input, and anything unexpected is ignored. */
export function decodeMessage(text: string): ClusterMessage | undefined {
  if (text.length > MAX_MESSAGE_LENGTH) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (value === null || typeof value !== "object") return undefined;
  const { version, type, instanceId, sequence, nodeId, prefix, sentAt, sids, reason } = value as Record<
    string,
    unknown
  >;
  if (
    version !== MESSAGE_VERSION ||
    !isLabel(instanceId) ||
    !Number.isSafeInteger(sequence) ||
    !isLabel(nodeId) ||
    typeof prefix !== "string" ||
    typeof sentAt !== "number"
  ) {
    return undefined;
  }
  const base = { instanceId, sequence: sequence as number, nodeId, prefix, sentAt };
  if (type === "CacheClear") return { type, ...base };
  if (type !== "SessionInvalidated" && type !== "SessionDeleted") return undefined;
  if (!Array.isArray(sids) || sids.length > MAX_BATCH_SIZE || !sids.every(isSid)) return undefined;
  if (type === "SessionInvalidated") return { type, ...base, sids };
  return REASONS.includes(reason) ? { type, ...base, sids, reason: reason as DestroyReason } : undefined;
}

/** Whether a value can be a session id. One with a lone surrogate is none: Redis would see another key. */
export function isSid(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_SID_LENGTH && isWellFormed(value);
}

/** Labels go to logs and event listeners. */
function isLabel(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_LABEL_LENGTH && isPrintable(value);
}
