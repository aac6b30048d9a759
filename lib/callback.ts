/** A node-style callback. */
export type Callback<T = void> = (error: unknown, result?: T) => void;

/**
 * Gives the outcome of `work` to `callback`, exactly once, or returns it when there is none.
 *
 * The callback runs on a stack of its own: what it throws is the application's, and must reach it as an uncaught exception,
 * neither calling the callback again (connect-redis does) nor ending as the rejection of a promise that is ours.
 */
export function deliver<T>(work: T | Promise<T>, callback: Callback<T> | undefined): Promise<T> | undefined {
  const outcome = Promise.resolve(work);
  if (callback === undefined) {
    // Nobody need look at it: express-session calls destroy() and ignores what it returns.
    outcome.catch(() => {});
    return outcome;
  }
  outcome.then(
    (result) => process.nextTick(callback, null, result),
    (error: unknown) => process.nextTick(callback, error),
  );
  return undefined;
}
