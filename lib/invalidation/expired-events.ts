import { Deadlines } from "../redis/deadlines.ts";
import type { Topology } from "../redis/topology.ts";
import { errorMessage } from "../reporting/errors.ts";
import { warnOnce } from "../reporting/warnings.ts";

const SETTING = "notify-keyspace-events";
const CONSEQUENCE = "so the event expired is not emitted. The cache is not affected.";

/**
 * Emits a process warning if a primary's `notify-keyspace-events` lacks `E` or `x`: by default Redis does not publish the keys
 * that expire, and nothing else would show that. Never rejects: many Redis users may not read the configuration, and then nothing
 * is known.
 */
export async function checkNotifications(topology: Topology, timeoutMs: number): Promise<void> {
  try {
    await new Deadlines(timeoutMs).run("CONFIG GET", async (deadline) => {
      for (const primary of await topology.primaryIds(deadline)) {
        const [reply] = await topology.send(deadline, {
          target: { primary },
          build: (batch) => batch.configGet(SETTING),
        });
        warnOfFlags(flagsIn(reply));
      }
    });
  } catch {}
}

/** Emits a process warning: the Redis user may not subscribe to the channel of expired keys. */
export function warnOfDeniedChannel(channel: string, cause: unknown): void {
  warnOnce(
    "WARN_EXPIRED_EVENTS",
    channel,
    `cluster.expiredEvents: Redis denies the channel ${channel} (${errorMessage(cause)}), ${CONSEQUENCE}`,
    `Grant the Redis user the channel: ACL SETUSER <user> &${channel}`,
  );
}

function warnOfFlags(flags: string | undefined): void {
  if (flags === undefined || (flags.includes("E") && /[xA]/.test(flags))) return;
  warnOnce(
    "WARN_EXPIRED_EVENTS",
    SETTING,
    `cluster.expiredEvents: ${SETTING} of Redis is "${flags}" and lacks E or x, ${CONSEQUENCE}`,
    `Set it: redis-cli CONFIG SET ${SETTING} ${flags.replace(/[Ex]/g, "")}Ex, and the same in redis.conf.`,
  );
}

/** The value in a reply to CONFIG GET of one setting, in whatever form the client's type mapping gives it. */
function flagsIn(reply: unknown): string | undefined {
  if (reply === null || typeof reply !== "object") return undefined;
  const [value] = reply instanceof Map ? [...reply.values()] : Object.values(reply).slice(-1);
  return value === undefined ? undefined : String(value);
}
