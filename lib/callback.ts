import { optionError } from "./reporting/errors.ts";

/** A Node-style callback. */
export type Callback<T = void> = (error: unknown, result?: T) => void;

const MAX_DEPTH = 8;

/** How many callbacks are running, each within the one before. */
let depth = 0;

/**
 * Runs `work` and passes its outcome to `callback`, exactly once; or returns a promise of it if there is no callback.
 *
 * An outcome that is there at once is passed on before this returns: a tick later it costs a request 5 % of its time, and the
 * response to a skipped touch leaves in one write. Callbacks within callbacks do so only to a depth of MAX_DEPTH, so that a
 * chain of them over cached sessions does not overflow the stack.
 *
 * What the callback throws is the application's: it reaches the caller or surfaces as an uncaught exception, and neither
 * calls the callback again (as in connect-redis) nor rejects a promise of this package.
 * @param callback none if it is null, undefined or false: express-session passes on whatever `req.session.destroy(…)` was given
 * @throws TypeError if `callback` is neither a function nor none; `work` does not run then
 */
export function asCallback<T>(
  callback: Callback<T> | null | false | undefined,
  work: () => T | Promise<T>,
): Promise<T> | undefined {
  const isNone = callback === undefined || callback === null || callback === false;
  if (!isNone && typeof callback !== "function")
    throw optionError("callback", "a function, or null, undefined or false for none", callback);
  let outcome: T | Promise<T>;
  try {
    outcome = work();
  } catch (error) {
    outcome = Promise.reject(error);
  }
  if (isNone) {
    const promise = Promise.resolve(outcome);
    // express-session calls destroy() and ignores the promise.
    promise.catch(() => {});
    return promise;
  }
  if (outcome instanceof Promise) {
    outcome.then(
      (result) => process.nextTick(callback, null, result),
      (error: unknown) => process.nextTick(callback, error),
    );
  } else if (depth === MAX_DEPTH) process.nextTick(callback, null, outcome);
  else {
    depth++;
    try {
      callback(null, outcome);
    } finally {
      depth--;
    }
  }
  return undefined;
}
