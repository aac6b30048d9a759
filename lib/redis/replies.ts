import { errorMessage, SessionStoreError } from "../reporting/errors.ts";

/**
 * The longest value that is read, in bytes: 64 MiB. No session is as long, and node-redis's decoder throws at one that is
 * longer than V8's longest string (512 MiB).
 */
export const MAX_VALUE_BYTES: number = 64 * 1024 * 1024;

// Each of these returns undefined for a reply of another type. Type mappings of the client may turn strings into Buffers, and
// numbers into strings.

export function asInteger(reply: unknown): number | undefined {
  const isNumeral =
    (typeof reply === "string" || Buffer.isBuffer(reply)) && /^-?\d{1,16}$/.test(String(reply));
  return typeof reply === "number" || typeof reply === "bigint" || isNumeral ? Number(reply) : undefined;
}

export function asText(reply: unknown): string | undefined {
  if (typeof reply === "string") return reply;
  return Buffer.isBuffer(reply) ? reply.toString() : undefined;
}

export function asTexts(reply: unknown): string[] | undefined {
  if (!Array.isArray(reply)) return undefined;
  const texts = reply.map(asText);
  return texts.every((text) => text !== undefined) ? texts : undefined;
}

export function asArray(reply: unknown): readonly unknown[] | undefined {
  return Array.isArray(reply) ? reply : undefined;
}

export function asPage(
  reply: unknown,
): { readonly cursor: string; readonly keys: readonly string[] } | undefined {
  const page = reply as { readonly cursor?: unknown; readonly keys?: unknown } | null;
  const [cursor, keys] = [asText(page?.cursor), asTexts(page?.keys)];
  return cursor === undefined || keys === undefined ? undefined : { cursor, keys };
}

/** How many subscribers received a heartbeat. */
export function receiversIn(reply: unknown, payload: string): number | undefined {
  return Array.isArray(reply) && asText(reply[1]) === payload ? asInteger(reply[0]) : undefined;
}

/**
 * Whether an error is a reply of Redis, and not a failure to get one. A Redis that loads its data after a start answers
 * everything with LOADING, which counts as no reply.
 */
export function isErrorReply(error: unknown): boolean {
  const message = errorMessage(failureIn(error));
  return /^[A-Z]{2,}[A-Z\d]*( |$)/.test(message) && !isLoading(error);
}

/** Whether Redis has replied that it loads its data. */
export function isLoading(error: unknown): boolean {
  return errorMessage(failureIn(error)).startsWith("LOADING ");
}

/** Whether another node serves the slot, or will soon. */
export function isRedirection(error: unknown): boolean {
  return /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /.test(errorMessage(failureIn(error)));
}

/** Whether a server has refused to write because it is a replica. */
export function isReadOnly(error: unknown): boolean {
  return /\bREADONLY\b/.test(errorMessage(failureIn(error)));
}

/** The error of the first command that failed in a batch. */
export function failureIn(error: unknown): unknown {
  const { replies, errorIndexes } = (error ?? {}) as { replies?: unknown[]; errorIndexes?: number[] };
  return replies?.[errorIndexes?.[0] ?? -1] ?? error;
}

/**
 * The value of a session.
 * @throws SessionStoreError `ERR_SESSION_CORRUPT` if it is longer than `MAX_VALUE_BYTES`
 */
export function requireReadable(text: string): string {
  if (!isTooLong(text)) return text;
  throw new SessionStoreError("ERR_SESSION_CORRUPT", `A value in Redis is not a session: ${TOO_LONG}`);
}

/** Whether a value is longer than `MAX_VALUE_BYTES`. A character takes at most 3 bytes, so most need not be measured. */
export function isTooLong(text: string): boolean {
  return text.length * 3 > MAX_VALUE_BYTES && Buffer.byteLength(text) > MAX_VALUE_BYTES;
}

/** What is said of such a value. */
export const TOO_LONG = "it is longer than 64 MiB";
