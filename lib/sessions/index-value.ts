import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import { describeValue } from "../reporting/errors.ts";

/**
 * The value that a session is found by.
 * @throws TypeError when the function gives neither a string nor undefined: guessing would hide the session
 */
export function indexValueOf(indexBy: IndexBy, session: SessionData): string | undefined {
  const value: unknown = indexBy(session);
  if (value === undefined || (typeof value === "string" && value !== "")) return value;
  throw new TypeError(
    `indexBy: the function must return a string that is not empty, or undefined, got ${describeValue(value)}`,
  );
}
