import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";

/** What one request made the Redis client send. */
export interface RedisWork {
  commands: number;
}

interface TracedCommand {
  readonly command: string;
  readonly args: readonly string[];
}

interface TracedBatch {
  readonly batchMode: "MULTI" | "PIPELINE";
  readonly batchSize: number;
}

const current = new AsyncLocalStorage<RedisWork>();

/** Runs a request; from here on, and through all its callbacks, what it makes the client send is added to `work`. */
export function countingInto(work: RedisWork, request: () => void): void {
  current.run(work, request);
}

/**
 * Counts what node-redis itself reports on its diagnostics channels at the moment a command is queued, so nothing is
 * inferred from what the store is believed to do.
 *
 * @param heartbeats what the channels of heartbeats begin with: those belong to no request, even if one sets them off
 */
export function countRedisCommands(heartbeats: string): void {
  subscribe("tracing:node-redis:command:start", (message) => {
    const { command, args } = message as TracedCommand;
    if (command === "PUBLISH" && args[1]?.startsWith(heartbeats)) return;
    add(1);
  });
  subscribe("tracing:node-redis:batch:start", (message) => {
    const { batchMode, batchSize } = message as TracedBatch;
    // A pipeline's commands are reported one by one as well, a transaction's are not, nor its MULTI and EXEC.
    if (batchMode === "MULTI") add(batchSize + 2);
  });
}

function add(commands: number): void {
  const work = current.getStore();
  if (work !== undefined) work.commands += commands;
}
