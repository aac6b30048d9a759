import { describeValue } from "../reporting/errors.ts";

/** A message with a whole batch of ids stays well below the longest that is read. */
const MAX_SID_LENGTH = 1024;

/** @throws TypeError */
export function checkSid(sid: unknown): asserts sid is string {
  if (typeof sid === "string" && sid !== "" && sid.length <= MAX_SID_LENGTH) return;
  throw new TypeError(
    `sid: expected a string of 1 to ${MAX_SID_LENGTH} characters, got ${describeValue(sid)}`,
  );
}

/** @throws TypeError */
export function checkSession(session: unknown): void {
  if (session !== null && typeof session === "object") return;
  throw new TypeError(`session: expected an object, got ${describeValue(session)}`);
}
