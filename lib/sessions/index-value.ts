import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import { describeReturned, describeValue } from "../reporting/errors.ts";
import { isPromise } from "./stored-session.ts";

/** It becomes part of a key: a mistake such as indexing by a whole profile must not fill Redis. */
const MAX_INDEX_VALUE_LENGTH = 1024;

/**
 * The index value of a session; undefined for none.
 * @throws TypeError if the function returns neither undefined or null nor a well-formed string of 1 to 1,024 characters: a guess would
 * hide the session
 */
export function indexValueOf(indexBy: IndexBy, session: SessionData): string | undefined {
  const value: unknown = indexBy(session);
  // A logout may set the user to null, as in express-session's README.
  if (value === undefined || value === null) return undefined;
  if (isIndexValue(value)) return value;
  const fix = isNumber(value) ? ": convert it with ?.toString()" : "";
  throw new TypeError(
    `indexBy: the function must return a string that ${expectation(value)}, or undefined, got ${describeReturned(value)}${fix}`,
  );
}

/**
 * Checks that a session has its index value in Redis, too. JSON drops what a class adds, such as the getter `id` of a Mongoose
 * document: the session would be added under a value that no listing finds in it, so that a ban would delete nothing. If only
 * the JSON has a value, as with `toJSON`, no entry would name the session.
 * @param text the session's JSON
 * @throws TypeError
 */
export function requireStoredIndexValue(indexBy: IndexBy, text: string, value: string | undefined): void {
  let got = "two values";
  let cause: unknown;
  try {
    if (indexValueOf(indexBy, JSON.parse(text)) === value) return;
  } catch (error) {
    // Its message would not say that the session is not the one that was saved.
    got = "an error for the JSON";
    cause = error;
  }
  throw new TypeError(
    `indexBy: the function must return the same for a session and for its JSON, got ${got}: use what JSON contains, or store the value as a property of the session`,
    cause === undefined ? undefined : { cause },
  );
}

/** Reads a session. It may throw, or return a promise. */
export type ReadSession = () => SessionData | Promise<SessionData>;

/**
 * The index value of what is being replaced or deleted; undefined if it cannot be determined at once. Its entry then stays
 * until it expires or the value is listed. A logout or a login must not fail because of it.
 */
export function formerIndexValue(indexBy: IndexBy, read: ReadSession): string | undefined {
  try {
    const session = read();
    if (isPromise(session)) session.catch(() => {});
    else return indexValueOf(indexBy, session);
  } catch {
    // It cannot be read, or has no valid index value.
  }
  return undefined;
}

/** Checks an argument. @throws TypeError */
export function checkIndexValue(value: unknown): asserts value is string {
  if (isIndexValue(value)) return;
  const fix = isNumber(value) ? ": convert it with String()" : "";
  throw new TypeError(
    `value: expected a string that ${expectation(value)}, as indexBy returns it, got ${describeValue(value)}${fix}`,
  );
}

function isIndexValue(value: unknown): value is string {
  return (
    typeof value === "string" &&
    value !== "" &&
    value.length <= MAX_INDEX_VALUE_LENGTH &&
    // Redis would see the value of another: two users would share an index.
    value.isWellFormed()
  );
}

/** The ids of most databases are numbers. */
function isNumber(value: unknown): boolean {
  return typeof value === "number" || typeof value === "bigint";
}

function expectation(value: unknown): string {
  if (typeof value !== "string" || value === "") return "is not empty";
  return value.length > MAX_INDEX_VALUE_LENGTH
    ? `has at most ${MAX_INDEX_VALUE_LENGTH} characters`
    : "has no lone surrogate";
}
