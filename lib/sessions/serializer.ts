import type { SessionData } from "express-session";
import type { Serializer } from "../options/types.ts";
import { describeValue, errorMessage, SessionStoreError } from "../reporting/errors.ts";

/** @throws SessionStoreError `ERR_SESSION_SERIALIZE` */
export function stringify(serializer: Serializer, key: string, session: SessionData): string {
  let text: unknown;
  try {
    text = serializer.stringify(session);
  } catch (cause) {
    const message = `The session "${key}" cannot be serialized: ${errorMessage(cause)}`;
    throw new SessionStoreError("ERR_SESSION_SERIALIZE", message, cause);
  }
  if (typeof text === "string") return text;
  const message = `The session "${key}" cannot be serialized: serializer.stringify returned ${describeValue(text)}`;
  throw new SessionStoreError("ERR_SESSION_SERIALIZE", message);
}
