import { createHash } from "node:crypto";

/** A Lua script. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
  /** The permissions that its commands need, in the words of an ACL; those of the index are in `INDEX_ACL`. */
  readonly acl: string;
}

export function script(acl: string, source: string): Script {
  return { source, sha1: sha1Of(source), acl };
}

/** The SHA-1 of a text as UTF-8, as `redis.sha1hex` returns it. */
export function sha1Of(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
