import { runInBackground } from "./background.ts";

/** What an outage asks of others. None of these may throw or reject. */
export interface OutageHandlers {
  /** Sends Redis a command that it answers whatever it holds. */
  probe(): Promise<unknown>;
  /** Why there may be no answer; undefined if nothing is known. */
  explain(): string | undefined;
  /** Whether the client has a connection; undefined if it does not say. */
  isConnected(): boolean | undefined;
  /** Replaces silent connections. @param silentMs how long one must have been silent. @returns whether a reply is awaited */
  checkConnections(silentMs: number): boolean;
  /** Redis has answered something that was sent at `sentAt`, by performance.now(); undefined if nobody wants to know. */
  readonly onAnswer: ((sentAt: number) => void) | undefined;
  /** Redis is away from now on. */
  onBegin(reason: string): void;
}

/** The state is checked so many times in the time after which Redis counts as away. */
const CHECKS_PER_LIMIT = 20;
const MAX_CHECK_INTERVAL_MS = 250;
/** The same while every command has been answered. */
const CALM_CHECK_INTERVAL_MS = 1_000;
/** Of its timeout, an operation waits for an answer at least so long: it begins before it sends, and its timer may be early. */
const TIMEOUT_SHARE = 0.9;
/** Nothing has been answered for so long that it is worth a command to ask why. */
const PROBE_AFTER_MS = 1_000;

/**
 * Whether Redis is away, and since when: for a whole timeout there has been no connection, or no reply to anything. An error
 * reply is a reply. The first reply ends it, or a new connection.
 *
 * It is the only owner of this fact. Whoever sends commands reports them here, and whoever depends on the outage asks.
 */
export class Outage {
  #limitMs = Number.POSITIVE_INFINITY;
  #handlers: OutageHandlers | undefined;
  /** When the first command was to be sent since the last reply. */
  #unansweredSince: number | undefined;
  #isKnown = false;
  /** When Redis last replied that it loads its data, by performance.now(). */
  #loadingAt = Number.NEGATIVE_INFINITY;
  #isProbing = false;
  /** Whether the client had no connection when that was last looked at. */
  #wasDisconnected = false;
  #timer: NodeJS.Timeout | undefined;
  /** Called once, when Redis is known to be away. */
  readonly #waiting = new Set<() => void>();

  /** @param limitMs how long Redis must not have answered to be away */
  start(limitMs: number, handlers: OutageHandlers): void {
    this.#limitMs = limitMs;
    this.#handlers = handlers;
    this.#schedule(CALM_CHECK_INTERVAL_MS);
  }

  /** Ends the checks. Redis counts as answering from now on. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#handlers = undefined;
    this.#isKnown = false;
  }

  /** A command is to be sent, or waits for a connection. */
  asked(): void {
    this.#unansweredSince ??= performance.now();
  }

  /** An operation has had no answer for its whole timeout. If nothing else has, the next one need not wait for as long. */
  timedOut(): void {
    if (this.#handlers === undefined || this.#unansweredSince === undefined) return;
    this.#decide(this.#handlers, TIMEOUT_SHARE * this.#limitMs);
  }

  /** Redis has replied. @param sentAt when that was sent, by performance.now() */
  answered(sentAt: number): void {
    this.#unansweredSince = undefined;
    this.#isKnown = false;
    this.#loadingAt = Number.NEGATIVE_INFINITY;
    this.#handlers?.onAnswer?.(sentAt);
  }

  /** Redis has replied that it loads its data, which counts as no reply. */
  loading(): void {
    this.#loadingAt = performance.now();
  }

  /** Whether Redis is known to be away. */
  get isKnown(): boolean {
    if (this.#isKnown && this.#wasDisconnected && this.#handlers?.isConnected() === true) this.#onConnected();
    return this.#isKnown;
  }

  /** Whether Redis is known to be away before `work` is done. Fails as `work` does until then. */
  async beginsBefore(work: Promise<unknown>): Promise<boolean> {
    let onBegin = () => {};
    const begun = new Promise<boolean>((resolve) => {
      onBegin = () => resolve(true);
    });
    this.#waiting.add(onBegin);
    try {
      return await Promise.race([work.then(() => false), begun]);
    } finally {
      this.#waiting.delete(onBegin);
    }
  }

  /** For how long Redis has not answered, in milliseconds; undefined unless it is known to be away. */
  get durationMs(): number | undefined {
    return this.#isKnown ? this.#unansweredMs : undefined;
  }

  /** Why operations fail at once; undefined unless Redis is known to be away. */
  get reason(): string | undefined {
    if (!this.isKnown) return undefined;
    const since = new Date(Date.now() - this.#unansweredMs).toISOString();
    const seconds = Math.floor(this.#unansweredMs / 1_000);
    return `Redis has not answered since ${since} (${seconds} s): ${this.#explanation}`;
  }

  get #explanation(): string {
    // It says so to each probe, unless it has been stopped or killed meanwhile.
    const isLoading = performance.now() - this.#loadingAt < this.#limitMs;
    if (isLoading) return "LOADING: it loads its data after a start";
    return this.#handlers?.explain() ?? "commands are sent, but no reply arrives";
  }

  get #unansweredMs(): number {
    const now = performance.now();
    return now - (this.#unansweredSince ?? now);
  }

  #schedule(maxMs: number): void {
    const intervalMs = Math.min(this.#limitMs / CHECKS_PER_LIMIT, maxMs);
    // A store that nobody uses any more must not stay in memory because of this.
    const self = new WeakRef<Outage>(this);
    const check = () => {
      const outage = self.deref();
      if (outage !== undefined) outage.#check();
    };
    // As in `Deadlines`: the reply may be there to be read.
    const onTimer = () => setImmediate(check);
    this.#timer = runInBackground(() => setTimeout(onTimer, intervalMs).unref());
  }

  #check(): void {
    const handlers = this.#handlers;
    if (handlers === undefined) return;
    const isAwaited = handlers.checkConnections(this.#limitMs);
    // Without a connection nothing may be asked for long, and the next operation is to know all the same.
    if (this.#unansweredSince === undefined && handlers.explain() !== undefined) this.asked();
    if (this.#unansweredSince !== undefined) {
      if (this.#unansweredMs >= Math.min(PROBE_AFTER_MS, this.#limitMs / 2)) this.#probe(handlers);
      this.#decide(handlers, this.#limitMs);
    }
    const isCalm = this.#unansweredSince === undefined && !isAwaited;
    this.#schedule(isCalm ? CALM_CHECK_INTERVAL_MS : MAX_CHECK_INTERVAL_MS);
  }

  /** Redis is away if it has not answered for `silentMs`. */
  #decide(handlers: OutageHandlers, silentMs: number): void {
    const isConnected = handlers.isConnected();
    if (this.#wasDisconnected && isConnected === true) this.#onConnected();
    this.#wasDisconnected = isConnected === false;
    if (this.#wasDisconnected) this.#loadingAt = Number.NEGATIVE_INFINITY;
    if (this.#unansweredMs < silentMs || this.#isKnown) return;
    this.#isKnown = true;
    handlers.onBegin(this.reason as string);
    for (const onBegin of this.#waiting) onBegin();
  }

  /** Commands may be answered again. If they are not, it takes the whole time until Redis is away again. */
  #onConnected(): void {
    this.#wasDisconnected = false;
    this.#isKnown = false;
    this.#unansweredSince = performance.now();
  }

  #probe(handlers: OutageHandlers): void {
    if (this.#isProbing) return;
    this.#isProbing = true;
    void handlers.probe().finally(() => {
      this.#isProbing = false;
    });
  }
}
