/** The version of the wire format. A process ignores messages of versions that it does not know. */
export const MESSAGE_VERSION: number = 1;

/** The longest text that is looked at; the longest session id, prefix and node id together stay far below. */
export const MAX_MESSAGE_LENGTH: number = 1024 * 1024;

/** What a process tells the others. */
export type ClusterMessage = SessionInvalidated | SessionDeleted | CacheClear;

/** Sessions that have been written: forget your copies. */
export interface SessionInvalidated extends MessageBase {
  /** Tells the kinds of message apart. */
  readonly type: "SessionInvalidated";
  /** The ids of the sessions, without the prefix. */
  readonly sids: readonly string[];
}

/** Sessions that have been deleted: forget your copies. */
export interface SessionDeleted extends MessageBase {
  /** Tells the kinds of message apart. */
  readonly type: "SessionDeleted";
  /** The ids of the sessions, without the prefix. */
  readonly sids: readonly string[];
  /** The method that deleted them: `destroy`, `destroyWhere` or `destroyAllOf`. */
  readonly reason: string;
}

/** All sessions are being deleted: forget everything. */
export interface CacheClear extends MessageBase {
  /** Tells the kinds of message apart. */
  readonly type: "CacheClear";
}

interface MessageBase {
  /** The store that sent it: a random id, made by each for itself. */
  readonly instanceId: string;
  /** Numbers the sender's writes from 1. */
  readonly sequence: number;
  /** The sender's label, for logs. */
  readonly nodeId: string;
  /** What stands before the sessions' ids in Redis. */
  readonly prefix: string;
  /** When it was sent, in milliseconds since 1970 by the sender's clock; for people, nothing is decided by it. */
  readonly sentAt: number;
}

/** What a message says, without whose it is. */
export type MessageContent = Said<SessionInvalidated> | Said<SessionDeleted> | Said<CacheClear>;

type Said<M extends ClusterMessage> = Omit<M, keyof MessageBase>;

/** A message as the text that goes over the channel. */
export function encodeMessage(message: ClusterMessage): string {
  return JSON.stringify({ version: MESSAGE_VERSION, ...message });
}

/**
 * The message that a text is, or undefined when it is none: what comes over the channel is input from outside, and
 * whatever is not exactly as expected is dropped.
 */
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
    typeof instanceId !== "string" ||
    !Number.isSafeInteger(sequence) ||
    typeof nodeId !== "string" ||
    typeof prefix !== "string" ||
    typeof sentAt !== "number"
  ) {
    return undefined;
  }
  const base = { instanceId, sequence: sequence as number, nodeId, prefix, sentAt };
  if (type === "CacheClear") return { type, ...base };
  if (type !== "SessionInvalidated" && type !== "SessionDeleted") return undefined;
  if (!Array.isArray(sids) || !sids.every((sid) => typeof sid === "string")) return undefined;
  if (type === "SessionInvalidated") return { type, ...base, sids };
  return typeof reason === "string" ? { type, ...base, sids, reason } : undefined;
}
