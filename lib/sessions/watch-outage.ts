import type { RedisStoreClient } from "../redis/client.ts";
import { connectionProblem, isConnected } from "../redis/connection-state.ts";
import { Deadlines } from "../redis/deadlines.ts";
import type { SessionCommands } from "../redis/session-commands.ts";
import type { Topology } from "../redis/topology.ts";
import type { Counters } from "../reporting/counters.ts";
import { SessionStoreError } from "../reporting/errors.ts";
import type { EmitEvent } from "../reporting/types.ts";

export interface OutageWatchOptions {
  readonly client: RedisStoreClient;
  readonly topology: Topology;
  readonly commands: SessionCommands;
  /** How long Redis must not have answered to be away. */
  readonly limitMs: number;
  readonly counters: Counters;
  readonly emit: EmitEvent;
  /** Redis has answered something that was sent at `sentAt`. */
  readonly onAnswer: (sentAt: number) => void;
}

/** Notices when Redis is away, asks until it answers again, has half-open connections replaced, and reports all that. */
export function watchOutage({
  client,
  topology,
  commands,
  limitMs,
  counters,
  emit,
  onAnswer,
}: OutageWatchOptions): void {
  const deadlines = new Deadlines(limitMs);
  const report = (code: "ERR_SESSION_UNAVAILABLE" | "ERR_SESSION_REDIS", message: string) =>
    emit("clusterError", new SessionStoreError(code, message));
  const onReplaced = () => {
    counters.reconnects++;
    report("ERR_SESSION_REDIS", `A half-open connection was replaced: it was silent for ${limitMs} ms`);
  };
  topology.outage.start(limitMs, {
    probe: () => deadlines.run("ping", (deadline) => commands.probe(deadline)).catch(() => {}),
    explain: () => connectionProblem(client, limitMs),
    isConnected: () => isConnected(client),
    checkConnections: (silentMs) => topology.checkConnections(silentMs, onReplaced),
    onAnswer,
    onBegin: (reason) => report("ERR_SESSION_UNAVAILABLE", reason),
  });
}
