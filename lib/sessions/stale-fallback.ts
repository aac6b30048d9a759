import type { StaleEntries } from "../cache/stale-entries.ts";
import type { Outage } from "../redis/outage.ts";
import type { Counters } from "../reporting/counters.ts";
import { SessionStoreError } from "../reporting/errors.ts";
import type { EmitEvent } from "../reporting/types.ts";
import type { StoredSession } from "./stored-session.ts";

/** Answers reads while Redis does not: with the session as it was last verified, for at most `staleIfErrorMs`. */
export class StaleFallback {
  readonly entries: StaleEntries<StoredSession>;
  readonly #outage: Outage;
  readonly #counters: Counters;
  readonly #emit: EmitEvent;

  constructor(entries: StaleEntries<StoredSession>, outage: Outage, counters: Counters, emit: EmitEvent) {
    this.entries = entries;
    this.#outage = outage;
    this.#counters = counters;
    this.#emit = emit;
  }

  /**
   * The result of `read`, or the stale session if Redis does not answer: at once if the outage is known, or when it becomes
   * known. An answer of Redis drops all stale sessions, so a read that fails with one fails.
   */
  async read(
    sid: string,
    read: () => Promise<StoredSession | undefined>,
  ): Promise<StoredSession | undefined> {
    if (this.entries.peek(sid) === undefined) return read();
    if (this.#outage.isKnown) return this.#serve(sid) ?? read();
    const reading = read();
    try {
      const isAway = await this.#outage.beginsBefore(reading);
      return (isAway ? this.#serve(sid) : undefined) ?? (await reading);
    } catch (error) {
      const stored = this.#serve(sid);
      if (stored === undefined) throw error;
      return stored;
    }
  }

  /**
   * Reports that a touch is skipped, if the session was served while Redis did not answer: a page that was served must not
   * end with a wait. @returns whether it is
   */
  skipsTouch(sid: string): boolean {
    if (!this.entries.wasServed(sid)) return false;
    this.#counters.failedTouches++;
    const message = "touch: skipped, because Redis does not answer and the session was served from the cache";
    this.#emit("clusterError", new SessionStoreError("ERR_SESSION_UNAVAILABLE", message));
    return true;
  }

  #serve(sid: string): StoredSession | undefined {
    const stored = this.entries.serve(sid);
    if (stored === undefined) return undefined;
    this.#counters.staleHits++;
    this.#emit("stale", sid);
    return stored;
  }
}
