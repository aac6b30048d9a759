import { isDeepStrictEqual } from "node:util";
import type { Cookie, Session, SessionData } from "express-session";
import type { ResolvedOptions } from "../options/options.ts";
import { indexValueOf } from "./index-value.ts";
import { lifetimeMs, touchWindowMs } from "./lifetime.ts";
import { mergeSessions } from "./merge.ts";
import { stringify } from "./serializer.ts";
import type { Draft, SharedSessions } from "./session-operations.ts";
import type { StoredSession } from "./stored-session.ts";
import { checkSession, checkSid } from "./validate.ts";

const LOST_MS = 10;

interface Known {
  /** When its key expires; undefined for never. */
  readonly expiresAt: number | undefined;
  /** It is a request's Session that stood in Redis: saving it must not bring it back once it was destroyed. */
  readonly isStored: boolean;
  /** What its holder started from. */
  readonly base: string;
  /** What Redis held after that: the same, unless it was merged with what others wrote. */
  readonly held: string;
}

/**
 * The session objects that requests have in hand, what is known of each, and what follows from it for their return:
 *
 * - One that was loaded is only ever updated: if it has been destroyed since, on whatever node, it stays so. A new one,
 *   and a plain object that the application writes, is written whether or not there was one before.
 * - When sessions are merged, it is written over what it was loaded as, and merged if that is not what Redis holds.
 * - One that is saved as it was loaded, but for the cookie's end (`resave: true`), is touched instead of written.
 * - A touch is left out if it would prolong the session's life by next to nothing.
 *
 * express-session returns the very objects that `createSession` made, so a WeakMap knows them again, and what it knows
 * goes with them.
 */
export class SessionsInHand {
  readonly #options: ResolvedOptions;
  readonly #sessions: SharedSessions;
  readonly #onRefused: (sid: string) => void;
  readonly #known = new WeakMap<object, Known>();

  /** @param onRefused hears of each save or touch that was left out because its session had been destroyed */
  constructor(options: ResolvedOptions, sessions: SharedSessions, onRefused: (sid: string) => void) {
    this.#options = options;
    this.#sessions = sessions;
    this.#onRefused = onRefused;
  }

  /** `session` is a copy of `stored` that is about to be handed out. */
  note<T extends SessionData | null>(session: T, stored: StoredSession): T {
    if (session !== null && typeof session === "object") this.#know(session, stored, stored.text, false);
    return session;
  }

  /** express-session has made `session` of what was handed out as `data`. */
  adopt<T extends SessionData>(data: SessionData, session: T): T {
    const known = this.#known.get(data);
    if (known !== undefined) this.#known.set(session, { ...known, isStored: true });
    return session;
  }

  /** Writes a session back, or for the first time; deletes it if it is to live no longer. */
  async save(sid: string, session: SessionData): Promise<void> {
    checkSid(sid);
    checkSession(session);
    const { ttl, disableTTL, serializer } = this.#options;
    const lifetime = lifetimeMs(session, ttl, Date.now());
    if (lifetime <= 0) {
      await this.#sessions.delete([sid], "destroy", this.#indexValue(session));
      return;
    }
    const ttlMs = disableTTL ? undefined : lifetime;
    // Before the first await: the session is the request's own, and may change as soon as this returns.
    const text = stringify(serializer, this.#sessions.keyOf(sid), session);
    const to = this.#indexValue(session);
    const known = this.#known.get(session);
    const loaded = known?.isStored ? known : undefined;
    if (loaded !== undefined && (await this.#isUnchanged(sid, loaded.base, text))) {
      await this.#prolong(sid, session, lifetime);
      return;
    }
    const hasLeft = loaded !== undefined && this.#options.indexBy !== undefined;
    const from = hasLeft ? await this.#indexValueOf(sid, loaded.base) : undefined;
    const draft: Draft = { text, change: { to, from } };
    const stored =
      loaded !== undefined && this.#options.merge
        ? await this.#sessions.merge(sid, ttlMs, loaded.held, (now) =>
            this.#merged(sid, loaded.base, now, draft),
          )
        : await this.#sessions.write(sid, text, ttlMs, loaded !== undefined, draft.change);
    if (stored === undefined) this.#onRefused(sid);
    else this.#know(session, stored, text, isLive(session));
  }

  /** Deletes a session. */
  async destroy(sid: string): Promise<void> {
    checkSid(sid);
    const held = this.#options.indexBy && this.#sessions.peek(sid);
    await this.#sessions.delete([sid], "destroy", held && (await this.#indexValueOf(sid, held.text)));
  }

  /** Moves a session's end to where its cookie says; returns nothing when there is nothing to do. */
  touch(sid: string, session: SessionData): Promise<void> | undefined {
    checkSid(sid);
    checkSession(session);
    if (this.#options.disableTouch) return undefined;
    return this.#prolong(sid, session, lifetimeMs(session, this.#options.ttl, Date.now()));
  }

  #prolong(sid: string, session: SessionData, lifetime: number): Promise<void> | undefined {
    const { disableTTL, touchAfterMs } = this.#options;
    if (disableTTL) return undefined;
    if (lifetime <= 0)
      return this.#sessions.delete([sid], "destroy", this.#indexValue(session)).then(() => {});
    const now = Date.now();
    const known = (this.#sessions.peek(sid) ?? this.#known.get(session))?.expiresAt;
    const gained = known === undefined ? undefined : now + lifetime - known;
    const isNegligible = gained !== undefined && Math.abs(gained) < (touchAfterMs ?? touchWindowMs(lifetime));
    return isNegligible ? undefined : this.#expire(sid, session, lifetime);
  }

  async #expire(sid: string, session: SessionData, ttlMs: number): Promise<void> {
    const known = this.#known.get(session);
    const to = this.#indexValue(session);
    const expiresAt = await this.#sessions.expire(sid, ttlMs, { to, from: undefined });
    if (expiresAt === undefined) {
      if (known?.isStored) this.#onRefused(sid);
    } else if (known !== undefined) this.#known.set(session, { ...known, expiresAt });
  }

  /** Whether two texts are of the same session, but for the cookie's end: every request moves that. */
  async #isUnchanged(sid: string, base: string, mine: string): Promise<boolean> {
    // A date is as long as any other in JSON, so most changes show here already.
    if (
      this.#options.serializer === JSON &&
      (base.length !== mine.length || !isSameBehindCookie(base, mine))
    ) {
      return false;
    }
    if (base === mine) return true;
    const [was, is] = await Promise.all([this.#sessions.parse(sid, base), this.#sessions.parse(sid, mine)]);
    if (was.cookie && is.cookie) alignCookie(was.cookie, is.cookie);
    return isDeepStrictEqual(was, is);
  }

  /** What to write over `held`, for a request that started from `base` and wants to write `mine`. */
  async #merged(sid: string, base: string, held: string, draft: Draft): Promise<Draft> {
    if (held === base) return draft;
    const parse = (text: string) => this.#sessions.parse(sid, text);
    const [was, theirs, wanted] = await Promise.all([parse(base), parse(held), parse(draft.text)]);
    const merged = mergeSessions(was, theirs, wanted, this.#options.merge?.resolve);
    const text = stringify(this.#options.serializer, this.#sessions.keyOf(sid), merged);
    return { text, change: { to: this.#indexValue(merged), from: this.#indexValue(theirs) } };
  }

  #indexValue(session: SessionData): string | undefined {
    return this.#options.indexBy && indexValueOf(this.#options.indexBy, session);
  }

  async #indexValueOf(sid: string, text: string): Promise<string | undefined> {
    return this.#options.indexBy && this.#indexValue(await this.#sessions.parse(sid, text));
  }

  #know(
    session: SessionData,
    { expiresAt, text: held }: StoredSession,
    base: string,
    isStored: boolean,
  ): void {
    this.#known.set(session, { expiresAt, isStored, base, held });
  }
}

const COOKIE_FIRST = '{"cookie":{';

/**
 * Whether two JSON texts may be the same but for the cookie that both begin with, as express-session's do: told without
 * parsing. A brace within the cookie's text only makes it say no more often, and a session is then written once too often.
 */
function isSameBehindCookie(base: string, mine: string): boolean {
  if (!base.startsWith(COOKIE_FIRST) || !mine.startsWith(COOKIE_FIRST)) return true;
  const end = mine.indexOf("}", COOKIE_FIRST.length);
  return base.slice(end) === mine.slice(end);
}

/** Lets `was` end when `is` does, and be as old: express-session's touch loses a millisecond of it now and then. */
function alignCookie(was: Cookie, is: Cookie): void {
  was.expires = is.expires;
  const lost = (was.originalMaxAge ?? Number.NaN) - (is.originalMaxAge ?? Number.NaN);
  if (Math.abs(lost) <= LOST_MS) was.originalMaxAge = is.originalMaxAge;
}

/** Whether it is a request's Session, which express-session made, and no plain object that the application writes. */
function isLive(session: SessionData): boolean {
  const { save, regenerate } = session as Partial<Session>;
  return typeof save === "function" && typeof regenerate === "function";
}
