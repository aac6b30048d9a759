import { createHash } from "node:crypto";

/** A Lua script. */
export interface Script {
  readonly source: string;
  readonly sha1: string;
  /** The permissions that its commands need, in the words of an ACL; those of the index are in `INDEX_ACL`. */
  readonly acl: string;
}

/** A script that publishes a message. */
export interface PublishingScript extends Script {
  /** The same, for a channel in the slot of the script's key. */
  readonly inShard: Script;
}

/**
 * The condition under which a server publishes to one shard of a Cluster alone: since Redis 7.0, which also brought
 * `redis.acl_check_cmd`. The server decides, so that processes never disagree, not even while servers are upgraded.
 */
export const HAS_SHARDED_CHANNELS: string = "redis.acl_check_cmd";

/** @param source calls the command that is named by `publish` */
export function publishingScript(acl: string, source: string): PublishingScript {
  const inShard = `local publish = ${HAS_SHARDED_CHANNELS} and "SPUBLISH" or "PUBLISH"\n${source}`;
  return {
    ...script(acl, `local publish = "PUBLISH"\n${source}`),
    inShard: script(`${acl} +spublish`, inShard),
  };
}

export function script(acl: string, source: string): Script {
  return { source, sha1: sha1Of(source), acl };
}

/** The SHA-1 of a text as UTF-8, as `redis.sha1hex` returns it. */
export function sha1Of(text: string): string {
  return createHash("sha1").update(text).digest("hex");
}
