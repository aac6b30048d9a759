import { createHash } from "node:crypto";

/** Enough of a session's id to tell it from others by, and of no use to whoever would steal the session. */
export function digestOf(sid: string): string {
  return createHash("sha256").update(sid).digest("hex").slice(0, 6);
}
