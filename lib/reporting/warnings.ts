/**
 * The kind of a process warning:
 * - `WARN_CACHE_NOT_INVALIDATED`: the cache is enabled with `cluster: false`, so writes of other processes are not noticed.
 * - `WARN_CACHE_NOT_LIVE`: the cache is not in use after `subscribeTimeoutMs`, and `clusterError` has no listener.
 * - `WARN_EXPIRED_EVENTS`: Redis does not publish, or does not deliver, the events that `cluster.expiredEvents` asks for.
 * - `WARN_TTL_IN_MILLISECONDS`: a `ttl` is so large that it is probably a number of milliseconds.
 * - `WARN_UNKNOWN_OPTION`: the store has no such option.
 */
export type WarningCode =
  | "WARN_CACHE_NOT_INVALIDATED"
  | "WARN_CACHE_NOT_LIVE"
  | "WARN_EXPIRED_EVENTS"
  | "WARN_TTL_IN_MILLISECONDS"
  | "WARN_UNKNOWN_OPTION";

const emitted = new Set<string>();

/**
 * Emits a process warning of the type `SessionStoreWarning`, once per process: an application with several stores, or one
 * that creates a store per test, does not print it again.
 * @param subject distinguishes warnings with the same code, for example the name of an option
 * @param fix what to change, on a line of its own
 */
export function warnOnce(code: WarningCode, subject: string, message: string, fix: string): void {
  const id = `${code} ${subject}`;
  if (emitted.has(id)) return;
  emitted.add(id);
  process.emitWarning(message, { type: "SessionStoreWarning", code, detail: fix });
}
