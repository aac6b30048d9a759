import type { SessionData } from "express-session";
import type { IndexBy } from "../options/types.ts";
import { describeValue } from "../reporting/errors.ts";

/**
 * The index value of a session; undefined for none.
 * @throws TypeError if the function returns neither a string nor undefined: a guess would hide the session
 */
export function indexValueOf(indexBy: IndexBy, session: SessionData): string | undefined {
  const value: unknown = indexBy(session);
  if (value === undefined || (typeof value === "string" && value !== "")) return value;
  throw new TypeError(
    `indexBy: the function must return a string that is not empty, or undefined, got ${describeValue(value)}`,
  );
}
