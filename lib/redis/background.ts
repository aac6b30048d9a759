import { AsyncResource } from "node:async_hooks";

class BackgroundContext extends AsyncResource {
  /** What `jest --detectOpenHandles` asks: it takes a resource without this method for one that keeps the process alive. */
  hasRef(): boolean {
    return false;
  }
}

const context = new BackgroundContext("ClusteredRedisStore");

/**
 * Runs `work` outside the caller's asynchronous context, in the one in which this module was loaded. Timers, connections and
 * commands keep the context in which they are created: heartbeats of a store that is created within a request's span would
 * belong to that trace for as long as the store lives.
 */
export function runInBackground<T>(work: () => T): T {
  return context.runInAsyncScope(work);
}
