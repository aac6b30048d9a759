import { isRedirection } from "../redis/replies.ts";
import type { SubscribedRead } from "../redis/session-values.ts";
import { OutOfStepError } from "../redis/subscriber.ts";
import type { BatchBuilder, SessionConnection } from "../redis/topology.ts";
import { standalone } from "../reporting/text.ts";
import type { MessageReceiver } from "./message-receiver.ts";
import { SubscriptionCount } from "./subscription-count.ts";
import { Unanswered } from "./unanswered.ts";

export interface SessionSubscriptionsOptions {
  readonly connection: SessionConnection;
  /** Whether Redis reports each change of a session that was read on the connection, whoever made it. */
  readonly isTracked: boolean;
  /** How many sessions may be subscribed at the same time. */
  readonly maxSessions: number;
  /** How long callers wait for the connection before they do without it, in milliseconds. */
  readonly maxWaitMs: number;
  /** Whether sessions may be read on the connection; undefined if nothing answers. Must not reject. */
  readonly askWhetherToRead: () => Promise<boolean | undefined>;
  /** Gets the messages about the sessions, and says which ones must stay subscribed. */
  readonly receiver: MessageReceiver;
  /** The connection is not what it is taken for: Redis refused to subscribe or to unsubscribe, or replies are out of step. */
  readonly onFailure: (error: unknown) => void;
}

interface Request {
  readonly channel: string;
  readonly sid: string;
  /** Adds the commands that read the session; undefined if it is only subscribed to. */
  readonly build: BatchBuilder | undefined;
  /** Called once. @param replies undefined if the session is not known to be subscribed */
  readonly settle: (replies: readonly unknown[] | undefined, sentAt: number) => void;
}

/** What came of a pipeline of reads: its replies, or none if Redis has refused a command. Undefined if the connection failed. */
type Answer = { readonly replies: readonly unknown[] | undefined } | undefined;

/** The replies to a read: value and time to live. */
const REPLIES = 2;
/** How many sessions are read on the connection at the same time, so that their values stay below Redis's limit for it. */
const MAX_READS = 256;
/** Subscriptions are examined in the ratio of four to each new one: then a third more are kept than are in use, at most. */
const SWEPT_PER_SUBSCRIPTION = 4;
const SWEEP_SIZE = 1_024;
/** What a subscription takes here and in node-redis, measured on Node 20. */
export const SUBSCRIPTION_BYTES = 260;
const MAX_UNSUBSCRIBED = 500;

/**
 * The sessions to whose channels one subscriber connection is subscribed.
 *
 * 1. A session is active from Redis's acknowledgement until UNSUBSCRIBE is sent, or the connection ends. Every message about
 *    an active session arrives.
 * 2. `read` sends SUBSCRIBE and the read together. Redis executes them in this order, so every write that the reply does not
 *    show is reported, and the report arrives behind the reply. What is requested in one turn of the event loop is sent as one
 *    SUBSCRIBE and one pipeline.
 * 3. Only `sweep` unsubscribes, in batches, from sessions that are not in use. One that is requested again is subscribed again,
 *    and its SUBSCRIBE follows the UNSUBSCRIBE on the same connection.
 * 4. While the connection does not answer, callers do without it.
 *
 * Redis ends subscriptions to sharded channels by itself; see `shardedConnection`. If that is missed here, a heartbeat or `#count`
 * shows it.
 */
export class SessionSubscriptions {
  /** See `SessionSubscriptionsOptions`. */
  readonly isTracked: boolean;
  /** See `KnownSubscriptions`. */
  disturbances = 0;
  /** Whether sessions may be read on the connection; undefined while that is not known. */
  canRead: boolean | undefined;
  #isAsking = false;
  readonly #options: SessionSubscriptionsOptions;
  /** Undefined if Redis ends no subscription by itself. */
  readonly #count: SubscriptionCount | undefined;
  /** By channel: the session's id. */
  readonly #sids = new Map<string, string>();
  /** By session: its channel, since the name contains a hash, which takes a while to compute. In step with `#sids`. */
  readonly #channels = new Map<string, string>();
  /** The channels of sessions that are not active yet. */
  readonly #pending = new Set<string>();
  /** Those of this turn, not sent yet. */
  #requests: Request[] = [];
  readonly #unanswered: Unanswered;
  /** Settles when Redis has answered the last SUBSCRIBE, and so all earlier ones. */
  #acknowledged: Promise<void> = Promise.resolve();
  #nextToSweep: Iterator<[string, string], undefined> = this.#sids.entries();
  /** What node-redis keeps for each channel. */
  #listeners: object | undefined;
  /** How many subscriptions are to be examined because others were added. */
  #sweepDebt = 0;
  #readsUnderWay = 0;
  #hasEnded = false;

  constructor(options: SessionSubscriptionsOptions) {
    this.#options = options;
    this.isTracked = options.isTracked;
    this.#unanswered = new Unanswered(options.maxWaitMs);
    const { connection } = options;
    connection.onMoved((channel) => this.#lose(channel));
    this.#count = connection.count && new SubscriptionCount(connection.count, this);
  }

  /** Determines whether sessions may be read on the connection, unless that is known. */
  async examine(): Promise<void> {
    if (this.canRead !== undefined || this.#isAsking) return;
    this.#isAsking = true;
    this.canRead = await this.#options.askWhetherToRead();
    this.#isAsking = false;
  }

  /** Replaces the connection if Redis has fewer subscriptions. To be called with every heartbeat. Never rejects. */
  async compareWithCount(): Promise<void> {
    try {
      if (await this.#count?.isShort()) this.#fail(new Error("Redis ended a subscription without notice"));
    } catch (error) {
      this.#failIfOutOfStep(error);
    }
  }

  /** How many sessions there are, including those that Redis has not acknowledged yet. */
  get size(): number {
    return this.#sids.size;
  }

  /** Subscribes to a session. @returns whether it is active; false if that is not known in time */
  subscribe(channel: string, sid: string): boolean | Promise<boolean> {
    if (this.#isActive(channel) || this.#hasEnded || this.#unanswered.isStalled)
      return this.#isActive(channel);
    return new Promise((resolve) => {
      const settle: Request["settle"] = (replies) => resolve(replies !== undefined);
      this.#request({ channel, sid, build: undefined, settle });
    });
  }

  /** Reads a session that is subscribed when Redis executes the read. @returns undefined if that is not possible now */
  read<T>(
    channel: string,
    sid: string,
    { build, parse }: SubscribedRead<T>,
  ): Promise<{ readonly value: T } | undefined> | undefined {
    const isBusy = this.#readsUnderWay >= MAX_READS;
    if (!this.canRead || this.#hasEnded || this.#unanswered.isStalled || isBusy) return undefined;
    this.#readsUnderWay++;
    return new Promise((resolve) => {
      const settle: Request["settle"] = (replies, sentAt) => {
        this.#readsUnderWay--;
        try {
          resolve(replies && { value: parse(replies, sentAt) });
        } catch (error) {
          this.#fail(error);
          resolve(undefined);
        }
      };
      this.#request({ channel, sid, build, settle });
    });
  }

  /** Unsubscribes from sessions that are not in use. @param count how many subscriptions are examined */
  sweep(count: number): void {
    const channels: string[] = [];
    for (let i = 0; i < count && i <= this.#sids.size; i++) {
      const { done, value } = this.#nextToSweep.next();
      if (done) {
        this.#nextToSweep = this.#sids.entries();
        continue;
      }
      const [channel, sid] = value;
      if (!this.#pending.has(channel) && !this.#options.receiver.cache.isInUse(sid)) channels.push(channel);
    }
    this.#unsubscribe(channels);
  }

  /** The channel of a session, if it is subscribed to. */
  channelOf(sid: string): string | undefined {
    return this.#channels.get(sid);
  }

  /** The id of the session with this channel, if there is one. */
  sidOf(channel: string): string | undefined {
    return this.#sids.get(channel);
  }

  /** Drops the sessions whose slots have moved. @param isHere whether a session's slot is still here */
  dropMoved(isHere: (sid: string) => boolean): void {
    const moved = [...this.#sids].flatMap(([channel, sid]) => (isHere(sid) ? [] : [channel]));
    for (const channel of moved) this.#lose(channel);
    // The Cluster may have named an outdated primary, and the server may not have ended anything.
    this.#unsubscribe(moved);
  }

  /** The connection has ended. */
  end(): void {
    this.#hasEnded = true;
    this.#sids.clear();
    this.#channels.clear();
    this.#pending.clear();
  }

  #isActive(channel: string): boolean {
    return this.#sids.has(channel) && !this.#pending.has(channel);
  }

  /** To be sent at the end of this turn: node-redis writes later, in any case. */
  #request(request: Request): void {
    if (this.#requests.push(request) === 1) queueMicrotask(() => this.#send());
  }

  #send(): void {
    const requests = this.#requests;
    this.#requests = [];
    const channels = this.#add(requests);
    // There may be no room for some.
    const isSubscribing = requests.map(({ channel }) => this.#sids.has(channel));
    const reads = requests.filter(({ build }) => build !== undefined);
    const sentAt = performance.now();
    const settle = (replies: readonly unknown[] | undefined) => {
      let at = 0;
      for (const [i, { channel, build, settle }] of requests.entries()) {
        const from = at;
        if (build !== undefined) at += REPLIES;
        const own = build === undefined ? [] : replies?.slice(from, at);
        settle(isSubscribing[i] && this.#isActive(channel) ? own : undefined, sentAt);
      }
    };
    const onAnswer = this.#unanswered.add({ sentAt, settle });
    const subscribing = channels.length > 0 && this.#options.connection.subscribe(channels, this.#onMessage);
    const answering = this.#settle(channels, subscribing || this.#acknowledged, this.#read(reads), onAnswer);
    if (subscribing) this.#acknowledged = answering;
  }

  async #read(reads: readonly Request[]): Promise<Answer> {
    const build: BatchBuilder = (batch) => reads.reduce((all, { build }) => build?.(all) ?? all, batch);
    try {
      return { replies: await this.#options.connection.read(build) };
    } catch (error) {
      return this.#failIfOutOfStep(error);
    }
  }

  /** Adds those that are not subscribed yet, as far as there is room. @returns their channels */
  #add(requests: readonly Request[]): readonly string[] {
    const channels: string[] = [];
    if (this.#hasEnded) return channels;
    for (const request of requests) {
      if (this.#sids.has(request.channel) || this.#sids.size >= this.#options.maxSessions) continue;
      // Both are kept, and an id is often a part of a whole Cookie header.
      const [channel, sid] = [standalone(request.channel), standalone(request.sid)];
      channels.push(channel);
      this.#sids.set(channel, sid);
      this.#channels.set(sid, channel);
      this.#pending.add(channel);
    }
    if (channels.length > 0) this.#scheduleSweep(channels.length);
    return channels;
  }

  /** Settles the requests of a turn. @param channels those that it subscribes to */
  async #settle(
    channels: readonly string[],
    subscribing: Promise<unknown>,
    reading: Promise<Answer>,
    onAnswer: (replies: readonly unknown[] | undefined) => void,
  ): Promise<void> {
    let isSubscribed = true;
    try {
      await subscribing;
    } catch (error) {
      isSubscribed = false;
      if (isRedirection(error)) {
        this.disturbances++;
        this.#unsubscribe(channels);
      } else this.#fail(error);
    }
    const answer = await reading;
    if (isSubscribed && answer === undefined) this.#unsubscribe(channels);
    else if (isSubscribed) this.#activate(channels);
    onAnswer(answer?.replies);
  }

  /** Pending sessions are not swept, so all are still wanted, unless the connection has ended. */
  #activate(channels: readonly string[]): void {
    if (this.#hasEnded) return;
    const listeners = this.#options.connection.listeners();
    // All channels have the same listener, so one object for it is enough.
    this.#listeners ??= listeners?.get(channels[0] as string);
    for (const channel of channels) {
      this.#pending.delete(channel);
      if (this.#listeners !== undefined) listeners?.set(channel, this.#listeners);
    }
  }

  #unsubscribe(channels: readonly string[]): void {
    this.#remove(channels);
    const { connection } = this.#options;
    // A listener would be removed from what the channels share.
    const listener = connection.listeners() ? undefined : this.#onMessage;
    for (let i = 0; i < channels.length; i += MAX_UNSUBSCRIBED) {
      connection.unsubscribe(channels.slice(i, i + MAX_UNSUBSCRIBED), listener).catch((error) => {
        if (!isRedirection(error)) this.#fail(error);
      });
    }
  }

  /** From now on, they count as never subscribed. */
  #remove(channels: readonly string[]): void {
    const listeners = this.#options.connection.listeners();
    for (const channel of channels) {
      this.#channels.delete(this.sidOf(channel) ?? "");
      this.#sids.delete(channel);
      this.#pending.delete(channel);
      listeners?.delete(channel);
    }
  }

  /** Messages about a session do not arrive here any more, if it is one of these. */
  #lose(channel: string): void {
    const sid = this.sidOf(channel);
    if (sid === undefined) return;
    this.disturbances++;
    this.#remove([channel]);
    this.#options.receiver.cache.onUnsubscribed(sid);
  }

  #scheduleSweep(added: number): void {
    const before = this.#sweepDebt;
    this.#sweepDebt += SWEPT_PER_SUBSCRIPTION * added;
    if (before >= SWEEP_SIZE || this.#sweepDebt < SWEEP_SIZE) return;
    setImmediate(() => {
      if (!this.#hasEnded) this.sweep(this.#sweepDebt);
      this.#sweepDebt = 0;
    });
  }

  /** One function for all channels. */
  readonly #onMessage = (text: string, channel: string): void => {
    const sid = this.sidOf(channel);
    if (sid !== undefined) this.#options.receiver.onSessionMessage(text, sid);
  };

  /** Another error is that of a connection that has ended. */
  #failIfOutOfStep(error: unknown): undefined {
    if (error instanceof OutOfStepError) this.#fail(error);
  }

  #fail(error: unknown): void {
    if (!this.#hasEnded) this.#options.onFailure(error);
  }
}
