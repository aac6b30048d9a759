import { AsyncLocalStorage } from "node:async_hooks";

/**
 * Runs `work` outside the caller's asynchronous context, in the one in which this module was loaded. Timers, connections and
 * commands keep the context in which they are created: heartbeats of a store that is created within a request's span would
 * belong to that trace for as long as the store lives.
 */
export const runInBackground: <T>(work: () => T) => T = AsyncLocalStorage.snapshot();
