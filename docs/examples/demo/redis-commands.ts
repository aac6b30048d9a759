import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe } from "node:diagnostics_channel";
import type { ClusteredRedisStore } from "clustered-redis-store";

/** What one request asked of the store, and made the Redis client send. */
export interface RedisWork {
  calls: number;
  commands: number;
  /** Whether the session is one that was last verified before Redis stopped answering. */
  isStale: boolean;
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
let background = 0;

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
    if (command === "PUBLISH" && args[1]?.startsWith(heartbeats)) background++;
    else add(1);
  });
  subscribe("tracing:node-redis:batch:start", (message) => {
    const { batchMode, batchSize } = message as TracedBatch;
    // A pipeline's commands are reported one by one as well, a transaction's are not, nor its MULTI and EXEC.
    if (batchMode === "MULTI") add(batchSize + 2);
  });
}

/** The commands since it was last asked that no request made the client send: heartbeats, subscriptions. */
export function takeBackground(): number {
  const taken = background;
  background = 0;
  return taken;
}

/**
 * Counts what express-session asks of the store. connect-redis sends one command for each of these, so this is what it
 * would have cost with connect-redis. And notes when a request gets a stale session.
 */
export function watchStore(store: ClusteredRedisStore): void {
  store.on("stale", () => {
    const work = current.getStore();
    if (work !== undefined) work.isStale = true;
  });
  for (const name of ["get", "set", "touch", "destroy"] as const) {
    const method = store[name].bind(store) as (...args: unknown[]) => unknown;
    const value = (...args: unknown[]) => {
      const work = current.getStore();
      if (work !== undefined) work.calls++;
      return method(...args);
    };
    Object.defineProperty(store, name, { value });
  }
}

function add(commands: number): void {
  const work = current.getStore();
  if (work === undefined) background += commands;
  else work.commands += commands;
}
