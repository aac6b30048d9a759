import { MAX_BATCH_SIZE } from "../redis/session-values.ts";
import { isLabel } from "../reporting/text.ts";

/** The version of the wire format. A process ignores messages of versions that it does not know. */
const MESSAGE_VERSION = 2;

/** The longest session id, in characters. */
export const MAX_SID_LENGTH: number = 1_024;

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

/** A message on the channel that all processes subscribe to. */
export type SharedMessage = SessionDeleted | CacheClear;

/** A session was written: invalidate it. The channel says which one. */
export interface SessionInvalidated extends Sender {
  /** The kind of message. */
  readonly type: "SessionInvalidated";
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

interface Sender {
  /** The random id of the store that sent it. */
  readonly instanceId: string;
  /** Numbers the sender's writes from 1. */
  readonly sequence: number;
  /** The sender's label, for logs. */
  readonly nodeId: string;
}

interface MessageBase extends Sender {
  /** What precedes the session ids in Redis. */
  readonly prefix: string;
  /** When it was sent, in milliseconds since 1970 by the sender's clock; for people, no decision depends on it. */
  readonly sentAt: number;
}

/** A message on the shared channel without its sender. */
export type MessageContent = MessagePayload<SessionDeleted> | MessagePayload<CacheClear>;

type MessagePayload<M extends SharedMessage> = Omit<M, keyof MessageBase>;

/** A message as the text that is published on the shared channel. */
export function encodeMessage(message: SharedMessage): string {
  return JSON.stringify({ version: MESSAGE_VERSION, ...message });
}

/** The text that is published on a session's channel: with every write, so it is short. */
export function encodeInvalidation({ instanceId, sequence, nodeId }: Sender): string {
  return `${invalidationStart(instanceId)}${sequence} ${nodeId}`;
}

/** What all such texts of a sender begin with. The sequence number and a space follow. */
export function invalidationStart(instanceId: string): string {
  return `${MESSAGE_VERSION} ${instanceId} `;
}

const INVALIDATION = /^2 ([\w-]{1,64}) (\d{1,16}) (.{1,256})$/;

/** The message in a text from a session's channel, checked; undefined if it is none that this version knows. */
export function decodeInvalidation(text: string): SessionInvalidated | undefined {
  const [, instanceId = "", digits, nodeId = ""] = INVALIDATION.exec(text) ?? [];
  const sequence = Number(digits);
  if (!Number.isSafeInteger(sequence) || !isLabel(nodeId)) return undefined;
  return { type: "SessionInvalidated", instanceId, sequence, nodeId };
}

/**
 * The text of a session's channel as it is published on the shared channel, while the slot of the session's channel moves.
 * @param channelSuffix the channel's name after what the names of all begin with: it contains a hash instead of the id
 */
export function forward(channelSuffix: string, text: string): string {
  return `${channelSuffix} ${text}`;
}

/** A text from a session's channel, and the end of that channel's name. */
export interface ForwardedText {
  readonly channelSuffix: string;
  readonly text: string;
}

const FORWARDED = /^(\{\w{3}\}[\w-]{22}) (.{1,512})$/;

/** The two parts of what `forward` returns; undefined for any other text. */
export function splitForwarded(text: string): ForwardedText | undefined {
  const [, channelSuffix, own] = FORWARDED.exec(text) ?? [];
  return channelSuffix === undefined || own === undefined ? undefined : { channelSuffix, text: own };
}

/** The text of a message in two parts: a script inserts the ids between them, as JSON separated by commas. */
export interface OpenText {
  readonly head: string;
  readonly tail: string;
}

/** Splits the text of a message without ids. No other part of it looks like `"sids":[]`: JSON escapes quotes within strings. */
export function splitAtSids(text: string): OpenText {
  const at = text.indexOf('"sids":[]') + '"sids":['.length;
  return { head: text.slice(0, at), tail: text.slice(at) };
}

/** The message in a text, or undefined: messages are untrusted input, and anything unexpected is ignored. */
export function decodeMessage(text: string): SharedMessage | undefined {
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
    !isLabel(nodeId) ||
    !Number.isSafeInteger(sequence) ||
    typeof prefix !== "string" ||
    typeof sentAt !== "number"
  ) {
    return undefined;
  }
  const base = { instanceId, sequence: sequence as number, nodeId, prefix, sentAt };
  if (type === "CacheClear") return { type, ...base };
  if (type !== "SessionDeleted" || !REASONS.includes(reason)) return undefined;
  if (!Array.isArray(sids) || sids.length > MAX_BATCH_SIZE || !sids.every(isSid)) return undefined;
  return { type, ...base, sids, reason: reason as DestroyReason };
}

/** Whether a value can be a session id. One with a lone surrogate is none: Redis would see another key. */
export function isSid(value: unknown): value is string {
  return typeof value === "string" && value !== "" && value.length <= MAX_SID_LENGTH && value.isWellFormed();
}
