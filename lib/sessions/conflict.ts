import { hashSid } from "../reporting/diagnostics.ts";
import { SessionStoreError, withHidden } from "../reporting/errors.ts";

/** After so many conflicts over one session, other writers leave no gap. */
export const MAX_CONFLICTS = 32;

/** @param prefix what precedes the session id in the key */
export function conflictError(sid: string, prefix: string): SessionStoreError {
  const message = `The session ${hashSid(sid)} was written by others ${MAX_CONFLICTS} times in a row`;
  return withHidden(new SessionStoreError("ERR_SESSION_CONFLICT", message), { key: prefix + sid });
}
