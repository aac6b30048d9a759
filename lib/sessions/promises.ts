/**
 * Whether a value is a promise, and not its outcome. By its method: zone.js and Bluebird replace the global `Promise`, of which
 * the promises of async functions are no instances then. No session has such a method, since it came out of a text.
 */
export function isPromise<T>(value: T | PromiseLike<T>): value is Promise<T> {
  return typeof (value as PromiseLike<T> | null | undefined)?.then === "function";
}
