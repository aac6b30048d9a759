import { SessionStoreError } from "../reporting/errors.ts";

/** After so many conflicts over one session, other writers leave no gap. */
export const MAX_CONFLICTS = 32;

/** @param key the session's */
export function conflictError(key: string): SessionStoreError {
  const message = `The session "${key}" was written by others ${MAX_CONFLICTS} times in a row`;
  return new SessionStoreError("ERR_SESSION_CONFLICT", message);
}
