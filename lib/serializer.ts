import type { SessionData } from "express-session";
import { reasonOf, SessionStoreError, shown } from "./errors.ts";

/** Makes strings of sessions and sessions of strings, as connect-redis takes it. `JSON` is one. */
export interface Serializer {
  /** The session that `stringify` made `text` of. May throw or reject: that request then gets an error. */
  parse(text: string): SessionData | Promise<SessionData>;
  /** Synchronous, because the session may go on changing: it is the request's own. */
  stringify(session: SessionData): string;
}

/** @throws SessionStoreError `ERR_SESSION_SERIALIZE` */
export function stringify(serializer: Serializer, key: string, session: SessionData): string {
  let text: unknown;
  try {
    text = serializer.stringify(session);
  } catch (cause) {
    const message = `The session "${key}" cannot be made into a string: ${reasonOf(cause)}`;
    throw new SessionStoreError("ERR_SESSION_SERIALIZE", message, cause);
  }
  if (typeof text === "string") return text;
  const message = `The session "${key}" cannot be made into a string: serializer.stringify returned ${shown(text)}`;
  throw new SessionStoreError("ERR_SESSION_SERIALIZE", message);
}
