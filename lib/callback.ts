import { optionError } from "./reporting/errors.ts";

/** A Node-style callback. */
export type Callback<T = void> = (error: unknown, result?: T) => void;

/**
 * The callback among a method's arguments. express-session passes on whatever `req.session.destroy(…)` was given.
 * @throws TypeError for anything but a function, or null, undefined and false, which mean none
 */
export function callbackFrom<T>(given: Callback<T> | null | false | undefined): Callback<T> | undefined {
  if (typeof given === "function") return given;
  if (given === undefined || given === null || given === false) return undefined;
  throw optionError("callback", "a function, or null, undefined or false for none", given);
}

/**
 * Runs `work` and passes its outcome to `callback`, exactly once and never before this returns; or returns a promise of it
 * if there is no callback.
 *
 * The callback runs on its own stack. What it throws is the application's: it must surface as an uncaught exception, and
 * neither call the callback again (as in connect-redis) nor reject a promise of this package. And a chain of callbacks over
 * cached sessions must not overflow the stack.
 * @throws TypeError if `callback` is neither a function nor none; `work` does not run then
 */
export function asCallback<T>(
  callback: Callback<T> | null | false | undefined,
  work: () => T | Promise<T>,
): Promise<T> | undefined {
  const call = callbackFrom(callback);
  const outcome = attempt(work);
  if (call === undefined) {
    const promise = Promise.resolve(outcome);
    // express-session calls destroy() and ignores the promise.
    promise.catch(() => {});
    return promise;
  }
  if (outcome instanceof Promise) {
    outcome.then(
      (result) => process.nextTick(call, null, result),
      (error: unknown) => process.nextTick(call, error),
    );
  } else process.nextTick(call, null, outcome);
  return undefined;
}

function attempt<T>(work: () => T | Promise<T>): T | Promise<T> {
  try {
    return work();
  } catch (error) {
    return Promise.reject(error);
  }
}
