const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const cleanUps = new Set<() => void>();

/**
 * Has `cleanUp` called when this process ends, however it does, short of SIGKILL. It must be synchronous: nothing else
 * happens any more by then.
 * @returns takes it back
 */
export function atExit(cleanUp: () => void): () => void {
  if (cleanUps.size === 0) listen();
  cleanUps.add(cleanUp);
  return () => {
    // With nothing to clean up, this process takes signals as if we had never been there.
    if (cleanUps.delete(cleanUp) && cleanUps.size === 0) unlisten();
  };
}

function listen(): void {
  process.on("exit", cleanUpAll);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

function unlisten(): void {
  process.off("exit", cleanUpAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function cleanUpAll(): void {
  for (const cleanUp of cleanUps) {
    try {
      cleanUp();
    } catch (error) {
      // The others still have their turn.
      console.error(error);
    }
  }
  cleanUps.clear();
}

function onSignal(signal: NodeJS.Signals): void {
  // Somebody else's listener decides what becomes of the process; if that ends it, "exit" is emitted here, too.
  if (process.listenerCount(signal) > 1 + bystanders()) return;
  unlisten();
  cleanUpAll();
  // Now it ends as it would have without us, so that who waits for it sees the signal.
  process.kill(process.pid, signal);
}

/**
 * signal-exit, which Docker's libraries load, acts on a signal only when it is alone. If we waited for it as it does for
 * us, Ctrl-C would do nothing at all.
 */
function bystanders(): number {
  const { __signal_exit_emitter__: emitter } = process as { __signal_exit_emitter__?: { count: number } };
  return emitter?.count ?? 0;
}
