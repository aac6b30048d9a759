import type { EventEmitter } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

const GENEROUS_MS = 20_000;

/** Waits until `check` gives something truthy without throwing; fails, after a generous time, with its last error. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = GENEROUS_MS, what = check.toString() } = {},
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    let last: unknown;
    try {
      const result = await check();
      if (result) return result;
      last = result;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) throw new Error(`Never became true: ${what}`, { cause: last });
    await pause(5);
  }
}

/** The arguments of the next event of that name. */
export function nextEvent(
  emitter: EventEmitter,
  name: string,
  { timeoutMs = GENEROUS_MS } = {},
): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const listener = (...args: unknown[]) => {
      clearTimeout(timer);
      resolve(args);
    };
    const late = () => {
      emitter.off(name, listener);
      reject(new Error(`There was no event "${name}" in ${timeoutMs} ms`));
    };
    const timer = setTimeout(late, timeoutMs);
    emitter.once(name, listener);
  });
}
