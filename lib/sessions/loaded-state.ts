import type { Cookie, Session, SessionData } from "express-session";
import { formerIndexValue } from "./index-value.ts";
import { isSameMaxAge } from "./lifetime.ts";
import type { SessionOperations } from "./session-operations.ts";
import { isPromise, type StoredSession } from "./stored-session.ts";

/** What this process read, wrote or tried to write. */
export interface Version {
  /** The text that the holder of the object had then. */
  readonly base: string;
  /** The text that Redis holds, or may hold, because of it: the same, unless it was merged. */
  readonly current: string;
  /** The value that Redis holds for that text; undefined if it will not be compared with another. */
  readonly value: string | undefined;
}

/** What is known of a session object in a request's hands. */
export interface LoadedState extends Version {
  readonly sid: string;
  /** When its key expires, by performance.now(); undefined for never. */
  readonly expiresAt: number | undefined;
  /** The cookie's `originalMaxAge` when it was loaded or saved. */
  readonly maxAge: unknown;
  /** It is a request's Session that Redis held: saving it must not restore a deleted session. */
  readonly isStored: boolean;
  /** Saves since then with an unknown outcome. */
  readonly attempts: readonly Version[];
}

/** A deleted session that a new one replaces. */
export interface ReplacedSession {
  /** Undefined if it had none, or if that is not known. */
  readonly indexValue: string | undefined;
}

/** Past that the oldest attempt is dropped; the next merge then takes it for another writer's. */
const MAX_ATTEMPTS = 8;

const NO_ATTEMPTS: readonly Version[] = [];

/** A property of objects that only its owner sees. It goes when its object goes. */
export interface HiddenProperty<V> {
  /** Undefined for what is no object, too. */
  get(object: unknown): V | undefined;
  set(object: object, value: V): void;
}

/** Whoever extends it adds private fields to an object that exists. */
class Existing {
  constructor(object: object) {
    // biome-ignore lint/correctness/noConstructorReturn: what makes it work
    return object;
  }
}

/**
 * The property is a private field. A WeakMap does the same, but V8's young collections take its values for live, and a write
 * then costs the process up to a tenth more, because each session's text grows old.
 */
export function hiddenProperty<V>(): HiddenProperty<V> {
  /** Of objects that can get no field. */
  const others = new WeakMap<object, V>();
  // A class for each property: several stores may know of one object.
  return class Holder extends Existing {
    #value: V | undefined;

    static get(given: unknown): V | undefined {
      const object: object = Object(given);
      if (object !== given) return undefined;
      return #value in object ? object.#value : others.get(object);
    }

    static set(object: object, value: V): void {
      if (#value in object) object.#value = value;
      else if (Object.isExtensible(object)) new Holder(object).#value = value;
      else others.set(object, value);
    }
  };
}

/** What is known of each session object, and which deleted session it replaces. */
export class LoadedStates {
  readonly #operations: SessionOperations;
  readonly #states = hiddenProperty<LoadedState>();
  /**
   * Of new sessions of requests whose own session had been deleted when they called `regenerate`. A request that copies its user
   * to the new session would restore, under another id, what a logout or a ban has ended.
   */
  readonly #replaced = new WeakMap<object, Promise<ReplacedSession | undefined>>();

  constructor(operations: SessionOperations) {
    this.#operations = operations;
  }

  /** What is known of an object that is saved under the id that it was loaded under. */
  of(sid: string, session: object): LoadedState | undefined {
    const state = this.#states.get(session);
    return state?.sid === sid ? state : undefined;
  }

  /** The same for one that is stored. */
  stored(sid: string, session: object): LoadedState | undefined {
    const state = this.of(sid, session);
    return state?.isStored ? state : undefined;
  }

  set(session: object, state: LoadedState): void {
    this.#states.set(session, state);
  }

  /** Saving `session` with the text `base` has made Redis hold the given session. */
  setSaved(sid: string, session: SessionData, base: string, { text, value, expiresAt }: StoredSession): void {
    const maxAge = session.cookie?.originalMaxAge;
    const isStored = isRequestSession(session);
    const attempts = NO_ATTEMPTS;
    this.set(session, { sid, expiresAt, maxAge, isStored, base, current: text, value, attempts });
  }

  /** Adds saves of `session` with an unknown outcome. */
  addAttempts(session: object, state: LoadedState, attempts: readonly Version[]): void {
    this.set(session, { ...state, attempts: [...state.attempts, ...attempts].slice(-MAX_ATTEMPTS) });
  }

  /** Adds a private copy of the given session. @returns it */
  addCopy(sid: string, copy: SessionData, { text, value, expiresAt }: StoredSession): SessionData {
    const maxAge = copy.cookie?.originalMaxAge;
    const attempts = NO_ATTEMPTS;
    this.set(copy, { sid, expiresAt, maxAge, isStored: false, base: text, current: text, value, attempts });
    return copy;
  }

  /**
   * express-session has made `session`, a request's Session, of `data`, which nobody uses any more.
   * @param former the request's object before, if it reloads
   * @returns `session`
   */
  adopt<T extends object>(data: object, session: T, former: object | undefined): T {
    const state = this.#states.get(data);
    if (state !== undefined) this.set(session, { ...state, isStored: true });
    const replaced = former && this.#replaced.get(former);
    if (replaced !== undefined) this.#replaced.set(session, replaced);
    return session;
  }

  /**
   * `regenerate` has replaced `former` by `session`.
   * @param deletion how many sessions `regenerate` itself deleted; undefined if that is not known
   */
  replace(sid: string, former: object, session: object, deletion: Promise<number> | undefined): void {
    const inherited = this.#replaced.get(former);
    const loaded = this.stored(sid, former);
    if (inherited === undefined && (loaded === undefined || deletion === undefined)) return;
    const replaced = this.#determineReplaced(inherited, loaded, deletion);
    // Saves get it.
    replaced.catch(() => {});
    this.#replaced.set(session, replaced);
  }

  /**
   * The deleted session that `session` replaces, if any, until that has been reported. Rejects if it cannot be parsed: nobody knows
   * whether it is restored.
   */
  replacedBy(session: object): Promise<ReplacedSession | undefined> | undefined {
    return this.#replaced.get(session);
  }

  /** That `session` replaces a deleted one has been reported. */
  onReplacementReported(session: object): void {
    this.#replaced.delete(session);
  }

  async #determineReplaced(
    inherited: Promise<ReplacedSession | undefined> | undefined,
    loaded: LoadedState | undefined,
    deletion: Promise<number> | undefined,
  ): Promise<ReplacedSession | undefined> {
    const before = await inherited;
    if (before !== undefined || loaded === undefined || deletion === undefined) return before;
    try {
      if (await deletion) return undefined;
    } catch {
      // The application has got the error, and nothing is known.
      return undefined;
    }
    const { indexBy } = this.#operations.options;
    if (indexBy === undefined) return { indexValue: undefined };
    const session = await this.#operations.parse(loaded.sid, loaded.current);
    return { indexValue: formerIndexValue(indexBy, () => session) };
  }

  /**
   * Whether a text is what the object was loaded as, but for the cookie's expiry, and Redis certainly holds that; if the
   * serializer is asynchronous, a promise, which does not reject.
   */
  isUnchanged({ sid, base, attempts, expiresAt }: LoadedState, text: string): boolean | Promise<boolean> {
    if (attempts.length > 0) return false;
    // Only a write removes the expiry of a key.
    if (this.#operations.options.disableTTL && expiresAt !== undefined) return false;
    if (this.#operations.format.serializer === JSON && !mayBeUnchanged(base, text)) return false;
    if (base === text) return true;
    try {
      const before = this.#operations.parse(sid, base);
      const after = this.#operations.parse(sid, text);
      if (!(isPromise(before) || isPromise(after))) return isSameSession(before, after);
      const compare = ([one, other]: SessionData[]) =>
        isSameSession(one as SessionData, other as SessionData);
      return Promise.all([before, after])
        .then(compare)
        .catch(() => false);
    } catch {
      // A session that cannot be read back is no reason to refuse the one that replaces it.
      return false;
    }
  }
}

/** Whether it is a request's Session, which express-session made, and no plain object that the application writes. */
function isRequestSession(session: SessionData): boolean {
  const { save, regenerate } = session as Partial<Session>;
  return typeof save === "function" && typeof regenerate === "function";
}

const COOKIE_FIRST = '{"cookie":{';

/**
 * Whether two JSON texts may be equal but for the cookie's expiry, without parsing. A date is as long as any other, so most
 * changes show in the length. express-session puts the cookie first; a brace within its text only yields a no too many,
 * and that session is then written once too often.
 */
function mayBeUnchanged(base: string, text: string): boolean {
  if (base.length !== text.length) return false;
  if (!base.startsWith(COOKIE_FIRST) || !text.startsWith(COOKIE_FIRST)) return true;
  const end = text.indexOf("}", COOKIE_FIRST.length);
  return base.slice(end) === text.slice(end);
}

/** Whether two sessions are equal but for the cookie's expiry: every request moves that. Changes `before`. */
function isSameSession(before: SessionData, after: SessionData): boolean {
  if (before.cookie && after.cookie) alignCookie(before.cookie, after.cookie);
  return isSameValue(before, after);
}

/**
 * Whether two values are the same, their keys in the same order. Objects of other classes than these count as different: a serializer
 * may create some that have private fields, which nobody else can compare.
 */
function isSameValue(one: unknown, other: unknown): boolean {
  if (one === null || other === null || typeof one !== "object" || typeof other !== "object") {
    return Object.is(one, other);
  }
  const prototype: unknown = Object.getPrototypeOf(one);
  if (prototype !== Object.getPrototypeOf(other)) return false;
  if (prototype === Date.prototype) return Object.is((one as Date).getTime(), (other as Date).getTime());
  if (prototype !== Object.prototype && prototype !== Array.prototype && prototype !== null) {
    return one === other;
  }
  const [values, otherValues] = [one, other] as [Values, Values];
  const keys = Reflect.ownKeys(values);
  const otherKeys = Reflect.ownKeys(otherValues);
  if (keys.length !== otherKeys.length) return false;
  return keys.every((key, i) => key === otherKeys[i] && isSameValue(values[key], otherValues[key]));
}

type Values = Readonly<Record<PropertyKey, unknown>>;

/** Gives `before` the expiry of `after`, and its age if the two differ by rounding only. */
function alignCookie(before: Cookie, after: Cookie): void {
  before.expires = after.expires;
  if (isSameMaxAge(before.originalMaxAge, after.originalMaxAge)) before.originalMaxAge = after.originalMaxAge;
}
