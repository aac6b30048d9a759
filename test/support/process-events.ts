import { onTestFinished } from "vitest";

/** What ends up in a process-wide event of failure during a test, instead of ending the test run. */
export function catchProcessEvents(name: "uncaughtException" | "unhandledRejection"): unknown[] {
  const caught: unknown[] = [];
  const before = process.listeners(name as "uncaughtException");
  const listener = (error: unknown) => caught.push(error);
  process.removeAllListeners(name);
  process.on(name, listener);
  onTestFinished(() => {
    process.removeListener(name, listener);
    for (const one of before) process.on(name as "uncaughtException", one);
  });
  return caught;
}
