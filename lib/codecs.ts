/**
 * Codecs for the option `codec`: encryption and compression of sessions in Redis.
 * @module clustered-redis-store/codecs
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { Codec, CodecContext } from "./options/types.ts";
import { describeArgument, optionError } from "./reporting/errors.ts";

export type { Codec, CodecContext } from "./options/types.ts";

/** A key of `encrypted`: 32 random bytes, or a secret that they are derived from. */
export type EncryptionKey = {
  /** Names the key in each value that it encrypts: 1 to 32 letters, digits, `-` and `_`. It is not secret. */
  readonly id: string;
} & (
  | {
      /** 32 random bytes, as `crypto.randomBytes(32)` returns them. */
      readonly key: Uint8Array;
      /** Not beside a key. */
      readonly secret?: undefined;
    }
  | {
      /** At least 32 random characters; the key is derived with HKDF-SHA-256. A password that people remember is too weak. */
      readonly secret: string;
      /** Not beside a secret. */
      readonly key?: undefined;
    }
);

/** Options of `encrypted`. */
export interface EncryptedOptions {
  /** The first key encrypts; any of them decrypts. */
  readonly keys: readonly EncryptionKey[];
  /**
   * Whether unencrypted values are accepted, while existing sessions are being converted. While this is `true`, anyone who
   * can write to Redis can forge sessions. @default false
   */
  readonly acceptPlain?: boolean | undefined;
}

/** Options of `compressed`. */
export interface CompressedOptions {
  /** Texts with fewer bytes are stored as they are. @default 1_024 */
  readonly fromBytes?: number | undefined;
}

/** The kind of a `CodecError`. */
export type CodecErrorCode =
  | "ERR_CODEC_FORMAT"
  | "ERR_CODEC_PLAIN"
  | "ERR_CODEC_UNKNOWN_KEY"
  | "ERR_CODEC_NOT_AUTHENTIC";

/**
 * Why a value cannot be decoded; the store reports it as `ERR_SESSION_CORRUPT`, with this error as `serializerError`. It
 * contains nothing of the session.
 * - `ERR_CODEC_FORMAT`: the value is damaged, or a newer version has written it.
 * - `ERR_CODEC_PLAIN`: the value is not encrypted, and `acceptPlain` is not set.
 * - `ERR_CODEC_UNKNOWN_KEY`: the value is encrypted with a key whose id is not among `keys`.
 * - `ERR_CODEC_NOT_AUTHENTIC`: the value was changed, or belongs to another session; or another key has the same id.
 */
export class CodecError extends Error {
  /** The name of the class. */
  override readonly name = "CodecError";
  /** The kind of failure. */
  readonly code: CodecErrorCode;

  constructor(code: CodecErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A value: this, the key's id, `:`, and the IV, the ciphertext and the tag in base64url without padding. */
const ENCRYPTED = "enc:v1:";
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const MIN_SECRET_LENGTH = 32;
const HKDF_INFO = "clustered-redis-store enc:v1";

/**
 * Encrypts sessions with AES-256-GCM. A value is bound to its key in Redis: copied to another session, it is rejected.
 *
 * @throws TypeError unless each key has 32 bytes or a secret of at least 32 characters, and its own id
 *
 * @example
 * const key = Buffer.from(process.env.SESSION_KEY, "base64");
 * const store = new ClusteredRedisStore({ client, codec: encrypted({ keys: [{ id: "2026-11", key }] }) });
 */
export function encrypted({ keys, acceptPlain = false }: EncryptedOptions): Codec {
  if (typeof acceptPlain !== "boolean") throw optionError("acceptPlain", "a boolean", acceptPlain);
  const keyOf = readKeys(keys);
  const [[id, first] = []] = keyOf;
  const head = `${ENCRYPTED}${id}:`;
  return {
    encode(text, context) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv("aes-256-gcm", first as KeyObject, iv);
      cipher.setAAD(additionalData(head, context));
      const parts = [iv, cipher.update(text, "utf8"), cipher.final(), cipher.getAuthTag()];
      return head + Buffer.concat(parts).toString("base64url");
    },
    decode(value, context) {
      if (!value.startsWith("enc:")) {
        if (acceptPlain) return value;
        throw new CodecError("ERR_CODEC_PLAIN", "The value is not encrypted");
      }
      const [, head = "", id = "", payload = ""] = /^(enc:v1:([\w-]{1,32}):)([\w-]+)$/.exec(value) ?? [];
      const data = Buffer.from(payload, "base64url");
      if (data.length < IV_BYTES + TAG_BYTES) {
        throw new CodecError("ERR_CODEC_FORMAT", "The value is damaged, or written by a newer version");
      }
      const key = keyOf.get(id);
      if (key === undefined) {
        throw new CodecError(
          "ERR_CODEC_UNKNOWN_KEY",
          `The value needs the key "${id}", which is not among keys`,
        );
      }
      const decipher = createDecipheriv("aes-256-gcm", key, data.subarray(0, IV_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(additionalData(head, context));
      decipher.setAuthTag(data.subarray(-TAG_BYTES));
      const text = decipher.update(data.subarray(IV_BYTES, -TAG_BYTES));
      try {
        return Buffer.concat([text, decipher.final()]).toString();
      } catch {
        const why = "changed, or belongs to another session, or another key has the same id";
        throw new CodecError("ERR_CODEC_NOT_AUTHENTIC", `The value was ${why}`);
      }
    },
  };
}

/** The length of the session id separates it from the prefix, so that no two sessions have the same data. */
function additionalData(head: string, { sid, key }: CodecContext): Buffer {
  return Buffer.from(`${head}${Buffer.byteLength(sid)}:${key}`);
}

function readKeys(keys: unknown): ReadonlyMap<string, KeyObject> {
  if (!Array.isArray(keys) || keys.length === 0) {
    throw optionError("keys", "an array of at least one { id, key } or { id, secret }", keys);
  }
  const keyOf = new Map<string, KeyObject>();
  for (const [i, entry] of (keys as unknown[]).entries()) {
    const { id, key, secret } = (entry ?? {}) as Partial<Record<keyof EncryptionKey, unknown>>;
    if (typeof id !== "string" || !/^[\w-]{1,32}$/.test(id)) {
      throw optionError(`keys[${i}].id`, 'a string of 1 to 32 letters, digits, "-" and "_"', id);
    }
    if (keyOf.has(id)) throw optionError(`keys[${i}].id`, "one that no other key has", id);
    keyOf.set(id, createSecretKey(readKey(`keys[${i}]`, key, secret)));
  }
  return keyOf;
}

/** Errors contain the kind of what was given and its length, and nothing of it. */
function readKey(name: string, key: unknown, secret: unknown): Uint8Array {
  if (key === undefined) {
    if (typeof secret === "string" && secret.length >= MIN_SECRET_LENGTH) {
      return new Uint8Array(hkdfSync("sha256", secret, "", HKDF_INFO, KEY_BYTES));
    }
    const got = typeof secret === "string" ? `${secret.length} characters` : describeArgument(secret);
    throw optionError(`${name}.secret`, `a string of at least ${MIN_SECRET_LENGTH} characters`, secret, got);
  }
  if (secret !== undefined) throw optionError(name, "a key or a secret", undefined, "both");
  if (key instanceof Uint8Array && key.length === KEY_BYTES) return key;
  const got = key instanceof Uint8Array ? `${key.length} bytes` : describeArgument(key);
  throw optionError(`${name}.key`, `a Uint8Array of ${KEY_BYTES} bytes`, key, got);
}

/** A value: this, and the deflated text in base64. */
const COMPRESSED = "zip:v1:";

/** No session is as long; a short value must not fill the memory. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/**
 * Compresses sessions, with deflate at its fastest. A text that is short, or would not become shorter, is stored as it is.
 * Sessions that were written without this codec remain readable.
 *
 * @throws TypeError for an invalid option
 */
export function compressed({ fromBytes = 1_024 }: CompressedOptions = {}): Codec {
  if (!Number.isSafeInteger(fromBytes) || fromBytes < 0) {
    throw optionError("fromBytes", "0 or a positive whole number of bytes", fromBytes);
  }
  return {
    encode(text) {
      const isAmbiguous = text.startsWith("zip:");
      const bytes = Buffer.byteLength(text);
      // Nobody could read it.
      if (bytes > MAX_TEXT_BYTES) throw new RangeError("The text is longer than 64 MiB");
      if (!isAmbiguous && bytes < fromBytes) return text;
      const value = COMPRESSED + deflateRawSync(text, { level: 1 }).toString("base64");
      return isAmbiguous || value.length < bytes ? value : text;
    },
    decode(value) {
      if (!value.startsWith("zip:")) return value;
      try {
        if (!value.startsWith(COMPRESSED)) throw new Error("unknown version");
        const data = Buffer.from(value.slice(COMPRESSED.length), "base64");
        return inflateRawSync(data, { maxOutputLength: MAX_TEXT_BYTES }).toString();
      } catch {
        throw new CodecError("ERR_CODEC_FORMAT", "The value is damaged, or written by a newer version");
      }
    },
  };
}

/**
 * Several codecs as one: they encode in this order, and decode in reverse. Compress before you encrypt:
 * `composed(compressed(), encrypted({ keys }))`.
 *
 * @throws TypeError if an argument is not a codec
 */
export function composed(...codecs: readonly Codec[]): Codec {
  for (const [i, codec] of codecs.entries()) {
    if (typeof codec?.encode === "function" && typeof codec.decode === "function") continue;
    throw optionError(`codecs[${i}]`, "an object with the functions encode and decode", codec);
  }
  return {
    encode: (text, context) => codecs.reduce((value, codec) => codec.encode(value, context), text),
    decode: (value, context) => codecs.reduceRight((text, codec) => codec.decode(text, context), value),
  };
}
