import { EventEmitter, once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

/** Passing tests do not take it. A loaded machine may need many times what a quiet one does. */
const GENEROUS_MS = 120_000;

/** Between two tries. What takes long is asked less often: each try takes time from what it waits for. */
const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 50;

/** Waits until `check` gives something truthy without throwing; fails, after a generous time, with its last answer. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeoutMs = GENEROUS_MS, what = check.toString() }: { timeoutMs?: number; what?: string } = {},
): Promise<T> {
  let last: unknown = "the check itself did not come to an end";
  let isOver = false;
  const trying = async () => {
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(LAST_PAUSE_MS, pauseMs * 1.1)) {
      try {
        const result = await check();
        if (result) return result;
        last = result;
      } catch (error) {
        last = error;
      }
      await pause(pauseMs);
      if (isOver) throw last;
    }
  };
  let timer: NodeJS.Timeout | undefined;
  // Not looked at between two tries only, as a check may ask a server that never answers.
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(neverTrue(what, last)), timeoutMs);
  });
  try {
    return await Promise.race([trying(), late]);
  } finally {
    isOver = true;
    clearTimeout(timer);
  }
}

function neverTrue(what: string, last: unknown): Error {
  const answer = last instanceof Error ? last.message : String(last);
  return new Error(`Never became true: ${what}\nAt last: ${answer}`, { cause: last });
}

/** The arguments of the next event of that name. */
export async function nextEvent(
  emitter: EventEmitter,
  name: string,
  { timeoutMs = GENEROUS_MS }: { timeoutMs?: number } = {},
): Promise<unknown[]> {
  // `once` rejects when its emitter emits `error`, as a client does that reconnects.
  const relay = new EventEmitter();
  const forward = (...args: unknown[]) => relay.emit("forwarded", ...args);
  emitter.once(name, forward);
  try {
    return await once(relay, "forwarded", { signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    throw new Error(`There was no event "${name}" in ${timeoutMs} ms`, { cause: error });
  } finally {
    emitter.off(name, forward);
  }
}
