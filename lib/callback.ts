/** A Node-style callback. */
export type Callback<T = void> = (error: unknown, result?: T) => void;

/**
 * Passes the outcome of `work` to `callback`, exactly once, or returns the promise if there is no callback.
 *
 * The callback runs on its own stack: what it throws is the application's. It must surface as an uncaught exception, and
 * neither call the callback again (as in connect-redis) nor reject a promise of this package.
 */
export function asCallback<T>(
  work: T | Promise<T>,
  callback: Callback<T> | undefined,
): Promise<T> | undefined {
  const outcome = Promise.resolve(work);
  if (callback === undefined) {
    // express-session calls destroy() and ignores the promise.
    outcome.catch(() => {});
    return outcome;
  }
  outcome.then(
    (result) => process.nextTick(callback, null, result),
    (error: unknown) => process.nextTick(callback, error),
  );
  return undefined;
}
