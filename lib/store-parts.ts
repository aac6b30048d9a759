import type { EventEmitter } from "node:events";
import type { ClusterCoordinator } from "./invalidation/coordinator.ts";
import type { ResolvedOptions } from "./options/options.ts";
import { runInBackground } from "./redis/background.ts";
import { Deadlines } from "./redis/deadlines.ts";
import type { Topology } from "./redis/topology.ts";
import { topologyOf } from "./redis/topology-of.ts";
import { createCounters } from "./reporting/counters.ts";
import { publishEvent } from "./reporting/diagnostics.ts";
import { errorMessage, fixFor, SessionStoreError } from "./reporting/errors.ts";
import type { EmitEvent } from "./reporting/types.ts";
import { warnOnce } from "./reporting/warnings.ts";
import { SecondaryIndex } from "./sessions/secondary-index.ts";
import { SessionOperations } from "./sessions/session-operations.ts";
import { SessionScan } from "./sessions/session-scan.ts";
import { SessionTracker } from "./sessions/session-tracker.ts";

/** What a store consists of. */
export interface StoreParts {
  readonly operations: SessionOperations;
  readonly tracker: SessionTracker;
  readonly scan: SessionScan;
  /** Undefined without `indexBy`. */
  readonly index: SecondaryIndex | undefined;
}

/** Puts a store together, and starts it. @param emitter whose listeners get the events */
export function createParts(emitter: EventEmitter, options: ResolvedOptions): StoreParts {
  const counters = createCounters();
  const nodeId = options.cluster?.nodeId ?? "";
  // A listener that throws is the application's fault, and must reach it as an uncaught exception.
  const emit: EmitEvent = (event, ...args) => {
    try {
      publishEvent(event, args, nodeId);
      emitter.emit(event, ...args);
    } catch (error) {
      process.nextTick(() => {
        throw error;
      });
    }
  };
  const topology = topologyOf(options);
  const operations = new SessionOperations(options, topology, counters, emit);
  const tracker = new SessionTracker(operations);
  const scan = new SessionScan(operations, topology);
  const { indexBy } = options;
  const index = indexBy && new SecondaryIndex(operations, scan, indexBy);
  const parts = { operations, tracker, scan, index };
  watchOutage(topology, operations);
  const { cache, coordinator } = operations;
  if (coordinator === undefined || options.cluster === undefined) return parts;
  const { subscribeTimeoutMs } = options.cluster;
  runInBackground(() => {
    coordinator.start({ cache, emit });
    setTimeout(() => warnUnlessLive(emitter, coordinator, subscribeTimeoutMs), subscribeTimeoutMs).unref();
  });
  return parts;
}

/** Notices when Redis is away, asks until it answers again, has half-open connections replaced, and reports all that. */
function watchOutage(
  topology: Topology,
  { options, counters, emit, commands, stale }: SessionOperations,
): void {
  const { commandTimeoutMs: limitMs } = options;
  const deadlines = new Deadlines(limitMs);
  const report = (code: "ERR_SESSION_UNAVAILABLE" | "ERR_SESSION_REDIS", message: string) =>
    emit("clusterError", new SessionStoreError(code, message));
  const onReplaced = (what: string) => {
    counters.reconnects++;
    report("ERR_SESSION_REDIS", what);
  };
  topology.outage.start(limitMs, {
    probe: () => deadlines.run("ping", (deadline) => commands.probe(deadline)).catch(() => {}),
    explain: () => topology.readiness.problem(limitMs),
    isConnected: () => topology.readiness.isConnected,
    checkConnections: (silentMs) => topology.checkConnections(silentMs, onReplaced),
    onAnswer: stale && ((sentAt) => stale.entries.onAnswer(sentAt)),
    onBegin: (reason) => report("ERR_SESSION_UNAVAILABLE", reason),
  });
}

/** Without a cache and without a listener for failures, nothing else would show that the store is not as fast as it can be. */
function warnUnlessLive(emitter: EventEmitter, coordinator: ClusterCoordinator, timeoutMs: number): void {
  if (coordinator.state !== "syncing" || emitter.listenerCount("clusterError") > 0) return;
  const { instanceId, lastError } = coordinator;
  const reason =
    lastError === undefined ? "Redis has not answered" : errorMessage(lastError).replace(/\.$/, "");
  const message = `The session cache is not in use after ${timeoutMs} ms: ${reason}. Every read goes to Redis, and the store keeps trying.`;
  warnOnce("WARN_CACHE_NOT_LIVE", instanceId, message, fixFor(reason));
}
