import { onTestFinished } from "vitest";

export interface StoreWarning extends Error {
  readonly code?: string;
  readonly detail?: string;
}

/** The warnings of the store that the process emits during a test. */
export function catchWarnings(): StoreWarning[] {
  const caught: StoreWarning[] = [];
  const listener = (warning: StoreWarning) => {
    if (warning.name === "SessionStoreWarning") caught.push(warning);
  };
  process.on("warning", listener);
  onTestFinished(() => void process.removeListener("warning", listener));
  return caught;
}

/** Resolves when warnings emitted so far have reached their listeners. */
export function warningsEmitted(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
