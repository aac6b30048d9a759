import type { NearCache } from "../cache/near-cache.ts";
import { ClusterCoordinator } from "../invalidation/coordinator.ts";
import type { ClusterHandlers } from "../invalidation/types.ts";
import type { ResolvedCluster } from "../options/options.ts";
import type { Topology } from "../redis/topology.ts";
import type { StoredSession } from "./stored-session.ts";

/** What the store hears of sessions, after the cache has obeyed. None of these may throw. */
export interface SessionHandlers extends Omit<ClusterHandlers, "forget" | "told"> {
  /** Another process, named by its label, wrote or deleted sessions. */
  invalidated(sids: readonly string[], from: string): void;
  /** Sessions were deleted by a process, this one or another, by the method that is the reason. */
  destroyed(sids: readonly string[], by: string, reason: string): void;
  expired(sid: string): void;
}

/**
 * The coordinator of a store: what is heard makes the cache forget first, and then the store's observers are told.
 * @param near the cache; asked for only when something is heard
 */
export function coordinatorOf(
  cluster: ResolvedCluster,
  topology: Topology,
  near: () => NearCache<StoredSession>,
  handlers: SessionHandlers,
): ClusterCoordinator {
  const { fullPrefix } = topology;
  return new ClusterCoordinator({
    ...cluster,
    prefix: fullPrefix,
    topology,
    handlers: {
      ...handlers,
      forget: (sids) => {
        for (const sid of sids) near().forget(sid);
      },
      told: (message) => {
        handlers.invalidated(message.sids, message.nodeId);
        if (message.type === "SessionInvalidated" || message.reason === "clear") return;
        handlers.destroyed(message.sids, message.nodeId, message.reason);
      },
      expired: (key) => {
        if (!key.startsWith(fullPrefix)) return;
        const sid = key.slice(fullPrefix.length);
        near().forget(sid);
        handlers.expired(sid);
      },
      distrust: (reason) => {
        near().forgetAll();
        handlers.distrust(reason);
      },
    },
  });
}
