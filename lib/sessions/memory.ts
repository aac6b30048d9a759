/**
 * How much memory V8 needs for a stored session, so that `maxBytes` limits real memory. Node's heap has words of 8 bytes;
 * measured on Node 20 to be 0.6 to 1.2 of the real size for ordinary sessions, and never below half of it.
 */
import { isTwoByte } from "../reporting/text.ts";

/** A `StoredSession` and its entry in the cache, without the characters of its id. */
const ENTRY_BYTES = 250;

/** What a value of Redis and its text take, as far as they are kept; once if they are the same. */
export function memoryOfTexts(value: string | undefined, text: string | undefined): number {
  const bytes = value === undefined ? 0 : memoryOfString(value, true);
  return ENTRY_BYTES + bytes + (text === undefined || text === value ? 0 : memoryOfString(text, true));
}

/**
 * What `value`, the result of `JSON.parse(text)`, takes besides the text; Infinity if it should not be kept. It must not be
 * nested too deeply.
 *
 * Objects with the same keys in the same order share a hidden class. An object that is the first of its kind needs one of
 * its own, which is larger than the object, so that keys that hardly repeat (`{"a81f":1,"b9c0":1}`) cost ten times their
 * text. Of those only so many may be kept: once 1,536 hidden classes begin with the same keys, V8 gives every further object
 * one of its own, also to objects that are alike.
 */
export function memoryOfJson(text: string, value: unknown): number {
  return memoryOf(value, isTwoByte(text));
}

/** The part of a value that is not in the slot of its parent. */
function memoryOf(value: unknown, isWide: boolean): number {
  if (typeof value === "string") return memoryOfString(value, isWide);
  if (typeof value === "number") return isSmallInteger(value) ? 0 : 16;
  if (value === null || typeof value !== "object") return 0;
  return Array.isArray(value) ? memoryOfArray(value, isWide) : memoryOfObject(value, isWide);
}

function memoryOfArray(array: readonly unknown[], isWide: boolean): number {
  if (array.length === 0) return 32;
  let bytes = 48 + 8 * array.length;
  for (const item of array) bytes += memoryOf(item, isWide);
  return bytes;
}

/** From so many keys on V8 uses a hash table instead of a hidden class. */
const MAX_FAST_KEYS = 127;

function memoryOfObject(object: object, isWide: boolean): number {
  const source = object as Record<string, unknown>;
  let bytes = 0;
  let named = 0;
  let keyBytes = 0;
  let indices = 0;
  let lastIndex = 0;
  let shape = root;
  let isNew = false;
  for (const key in source) {
    if (!hasOwn.call(source, key)) continue;
    const value = source[key];
    if (value !== null && typeof value !== "boolean") bytes += memoryOf(value, isWide);
    if (isIndex(key)) {
      indices++;
      lastIndex = Number(key);
      continue;
    }
    if (++named > MAX_FAST_KEYS) {
      keyBytes += memoryOfString(key, isWide);
      continue;
    }
    let next = shape.get(key);
    if (next === undefined) {
      isNew = true;
      next = addShape(shape, key);
      bytes += next === undefined ? Number.POSITIVE_INFINITY : SHAPE_BYTES;
    }
    if (isNew) keyBytes += memoryOfString(key, isWide);
    // Without a shape only the depth matters any more.
    shape = next ?? shape;
  }
  if (indices > 0) bytes += memoryOfIndices(indices, lastIndex);
  if (named > MAX_FAST_KEYS) return bytes + 24 + 60 * named + keyBytes;
  // An empty object has room for four keys.
  bytes += named === 0 ? 56 : 24 + 8 * named;
  return isNew ? bytes + 130 + 100 * named + keyBytes : bytes;
}

/** Keys that are whole numbers are kept like the items of an array, or in a hash table if most would be missing. */
function memoryOfIndices(count: number, last: number): number {
  const capacity = 2 ** Math.ceil(Math.log2(Math.max(4, 1.5 * count)));
  return last < 9 * capacity ? 24 + 8 * last : 40 + 28 * capacity;
}

function isIndex(key: string): boolean {
  const first = key.charCodeAt(0);
  return first >= 48 && first <= 57 && /^(0|[1-9]\d{0,9})$/.test(key) && Number(key) < 2 ** 32 - 1;
}

/** @param isWide whether any of its characters may need two bytes */
function memoryOfString(text: string, isWide: boolean): number {
  const bytes = (isWide && isTwoByte(text) ? 2 : 1) * text.length;
  return 16 + 8 * Math.ceil(bytes / 8);
}

/** Whether V8 keeps a number in its slot. */
function isSmallInteger(value: number): boolean {
  return (value | 0) === value && !Object.is(value, -0);
}

/** The keys that may follow those that lead here: V8's transitions between hidden classes, as far as they are known. */
interface Shape extends Map<string, Shape> {}

/** V8 has at most 1,536, the application's own included. */
const MAX_TRANSITIONS = 1_000;

/** A limit on what is known, keys included. */
const MAX_KNOWN_BYTES = 2 ** 20;

/** What is known takes memory, too. */
const SHAPE_BYTES = 256;

const root: Shape = new Map();
let knownBytes = 0;

/** Undefined if a limit is reached. It is permanent, because it is unknown when the objects that needed so many are gone. */
function addShape(shape: Shape, key: string): Shape | undefined {
  const bytes = SHAPE_BYTES + 2 * key.length;
  if (shape.size >= MAX_TRANSITIONS || knownBytes + bytes > MAX_KNOWN_BYTES) return undefined;
  const next: Shape = new Map();
  shape.set(key, next);
  knownBytes += bytes;
  return next;
}

/** Not Object.hasOwn: see `cloneJson`. */
const hasOwn = Object.prototype.hasOwnProperty;
