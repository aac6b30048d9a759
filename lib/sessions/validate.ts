import { describeValue } from "../reporting/errors.ts";

/** So that a message with a whole batch of ids stays well below what a process reads. */
const LONGEST_SID = 1024;

/** @throws TypeError */
export function checkSid(sid: unknown): asserts sid is string {
  if (typeof sid === "string" && sid !== "" && sid.length <= LONGEST_SID) return;
  throw new TypeError(`sid: expected a string of 1 to ${LONGEST_SID} characters, got ${describeValue(sid)}`);
}

/** @throws TypeError */
export function checkSession(session: unknown): void {
  if (session !== null && typeof session === "object") return;
  throw new TypeError(`session: expected an object, got ${describeValue(session)}`);
}
