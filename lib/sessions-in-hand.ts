import type { Session, SessionData } from "express-session";
import { checkSession, checkSid } from "./arguments.ts";
import { mergeSessions } from "./merge-sessions.ts";
import type { ResolvedOptions } from "./options.ts";
import { stringify } from "./serializer.ts";
import { lifetimeMs, touchWindowMs } from "./session-lifetime.ts";
import type { SharedSessions } from "./shared-sessions.ts";
import type { StoredSession } from "./stored-session.ts";

interface Known {
  /** When its key expires; undefined for never. */
  readonly expiresAt: number | undefined;
  /** It is a request's Session that stood in Redis: saving it must not bring it back once it was destroyed. */
  readonly isStored: boolean;
  /** What its holder started from. Kept for those who merge only, as is `held`. */
  readonly base?: string;
  /** What Redis held after that: the same, unless it was merged with what others wrote. */
  readonly held?: string;
}

/**
 * The session objects that requests have in hand, what is known of each, and what follows from it for their return:
 *
 * - One that was loaded is only ever updated: if it has been destroyed since, on whatever node, it stays so. A new one,
 *   and a plain object that the application writes, is written whether or not there was one before.
 * - When sessions are merged, it is written over what it was loaded as, and merged if that is not what Redis holds.
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
      await this.#sessions.delete([sid]);
      return;
    }
    const ttlMs = disableTTL ? undefined : lifetime;
    // Before the first await: the session is the request's own, and may change as soon as this returns.
    const text = stringify(serializer, this.#sessions.keyOf(sid), session);
    const { isStored = false, base, held } = this.#known.get(session) ?? {};
    const stored =
      isStored && base !== undefined && held !== undefined
        ? await this.#sessions.merge(sid, ttlMs, held, (now) => this.#merged(sid, base, now, text))
        : await this.#sessions.write(sid, text, ttlMs, isStored);
    if (stored === undefined) this.#onRefused(sid);
    else this.#know(session, stored, text, isLive(session));
  }

  /** Moves a session's end to where its cookie says; returns nothing when there is nothing to do. */
  touch(sid: string, session: SessionData): Promise<void> | undefined {
    checkSid(sid);
    checkSession(session);
    const { disableTouch, disableTTL, ttl, touchAfterMs } = this.#options;
    if (disableTouch || disableTTL) return undefined;
    const now = Date.now();
    const lifetime = lifetimeMs(session, ttl, now);
    if (lifetime <= 0) return this.#sessions.delete([sid]).then(() => {});
    const known = (this.#sessions.peek(sid) ?? this.#known.get(session))?.expiresAt;
    const gained = known === undefined ? undefined : now + lifetime - known;
    const isNegligible = gained !== undefined && Math.abs(gained) < (touchAfterMs ?? touchWindowMs(lifetime));
    return isNegligible
      ? undefined
      : this.#expire(sid, session, lifetime, gained !== undefined && gained >= 0);
  }

  async #expire(sid: string, session: SessionData, ttlMs: number, isLater: boolean): Promise<void> {
    const known = this.#known.get(session);
    const expiresAt = await this.#sessions.expire(sid, ttlMs, isLater);
    if (expiresAt !== undefined) this.#known.set(session, { isStored: false, ...known, expiresAt });
    else if (known?.isStored) this.#onRefused(sid);
  }

  /** What to write over `held`, for a request that started from `base` and wants to write `mine`. */
  async #merged(sid: string, base: string, held: string, mine: string): Promise<string> {
    if (held === base) return mine;
    const parse = (text: string) => this.#sessions.parse(sid, text);
    const [was, theirs, wanted] = await Promise.all([parse(base), parse(held), parse(mine)]);
    const merged = mergeSessions(was, theirs, wanted, this.#options.merge?.resolve);
    return stringify(this.#options.serializer, this.#sessions.keyOf(sid), merged);
  }

  #know(
    session: SessionData,
    { expiresAt, text: held }: StoredSession,
    base: string,
    isStored: boolean,
  ): void {
    // The texts are as large as the session: only those who merge have use for them.
    this.#known.set(
      session,
      this.#options.merge ? { expiresAt, isStored, base, held } : { expiresAt, isStored },
    );
  }
}

/** Whether it is a request's Session, which express-session made, and no plain object that the application writes. */
function isLive(session: SessionData): boolean {
  const { save, regenerate } = session as Partial<Session>;
  return typeof save === "function" && typeof regenerate === "function";
}
