import session, { type SessionData } from "express-session";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import type { Clock } from "./clock.ts";
import type { NodeSettings, OperationRecord, PlannedOperation } from "./protocol.ts";

type Values = Record<string, unknown>;
type Loaded = session.Session & SessionData;
/** express-session's types allow it to nobody else. */
const NewSession = session.Session as unknown as new (request: Request, data: object) => Loaded;
/** What the store uses of a request. */
interface Request {
  sessionID: string;
  session: Loaded;
  readonly newSid: string;
}
type Done<T> = (error: unknown, result?: T) => void;
/** It makes a session too long to be read on the subscriber's connection. */
const PADDING = "x".repeat(17_000);
type Open = { -readonly [K in keyof OperationRecord]: OperationRecord[K] };

/** Carries out planned operations on the node's store, as express-session would, and notes how each went. */
export class Operations {
  readonly #store: ClusteredRedisStore;
  readonly #settings: NodeSettings;
  readonly #clock: Clock;
  readonly #ended: (record: OperationRecord) => void;
  readonly #complain: (text: string) => void;
  readonly #writeOutside: (sid: string, text: string, lifeMs: number) => void;
  #pending = 0;
  /** Reads that have not been answered, by session. */
  readonly #reads = new Map<string, Set<Open>>();
  /** The ends of all cookies that were written. */
  readonly #ends = new Set<number>();

  constructor(
    store: ClusteredRedisStore,
    settings: NodeSettings,
    clock: Clock,
    ended: (record: OperationRecord) => void,
    complain: (text: string) => void,
    writeOutside: (sid: string, text: string, lifeMs: number) => void,
  ) {
    this.#store = store;
    this.#settings = settings;
    this.#clock = clock;
    this.#ended = ended;
    this.#complain = complain;
    this.#writeOutside = writeOutside;
    const generate = (request: Request) => {
      request.sessionID = request.newSid;
      request.session = new NewSession(request, {});
      request.session.cookie = new session.Cookie();
    };
    Object.assign(store, { generate });
    // Several reads may wait; each is counted as stale if one is.
    store.on("stale", (sid) => {
      for (const record of this.#reads.get(sid) ?? []) record.isStale = true;
    });
  }

  /** Operations whose callback has not been called. */
  get pending(): number {
    return this.#pending;
  }

  begin(planned: PlannedOperation): void {
    const { kind, sid, owner } = planned;
    if (kind === "get") this.read(sid);
    else if (kind === "save") this.#load(planned, sid, (session) => this.#save(planned, session));
    else if (kind === "twice") this.#load(planned, sid, (session) => this.#saveTwice(planned, session));
    else if (kind === "invalid") this.#load(planned, sid, (session) => this.#saveInvalid(planned, session));
    else if (kind === "copy") {
      this.#load(planned, planned.source ?? sid, (session) =>
        this.#set(planned, this.#changed(planned, session)),
      );
    } else if (kind === "regenerate")
      this.#load(planned, sid, (session) => this.#regenerate(planned, session));
    else if (kind === "cross")
      this.#load(planned, sid, (session, loadedAt) => this.#cross(planned, session, loadedAt));
    else if (kind === "touch") this.#touch(planned);
    else if (kind === "destroy") this.#run(this.#record(kind, sid), (done) => this.#store.destroy(sid, done));
    else if (kind === "clear") this.#run(this.#record(kind, sid), (done) => this.#store.clear(done));
    else if (kind === "sweep") this.#sweep(sid);
    else if (kind === "outside") {
      const { lifeMs, version } = planned;
      const text = JSON.stringify({ ...cookieFor(lifeMs), ...valuesFor(version, -1) });
      this.#writeOutside(sid, text, lifeMs);
    } else if (kind === "list") this.list(owner as string);
    else if (kind === "ban") {
      const ban = (done: Done<number>) => settle(this.#store.destroyAllOf(owner as string), done);
      this.#run(this.#record(kind, "", { owner: owner as string }), ban);
    } else this.#setNew(planned);
  }

  #setNew(planned: PlannedOperation): void {
    const cookie = cookieFor(planned.lifeMs, this.#endIn(planned.lifeMs));
    this.#set(planned, { ...cookie, ...this.#valuesFor(planned) });
  }

  #sweep(sid: string): void {
    const sweep = (done: Done<number>) =>
      settle(
        this.#store.destroyWhere((_, each) => each === sid),
        done,
      );
    this.#run(this.#record("sweep", sid), sweep);
  }

  list(owner: string): void {
    const record = this.#record("list", "", { owner });
    const list = (done: Done<{ sid: string }[]>) => settle(this.#store.sessionsOf(owner), done);
    this.#run(record, list, (found = []) => {
      record.found = found.map(({ sid }) => sid);
    });
  }

  #set({ sid, version, lifeMs }: PlannedOperation, session: Values, more: Partial<Open> = {}): void {
    const stamp = this.#stampOf(session);
    const record = this.#record("set", sid, { version, lifeMs, ...stamp, ...more });
    this.#run(record, (done) => this.#store.set(sid, session as unknown as SessionData, done));
    // The request goes on with its session; what is written is what it was when set was called.
    scribble(session);
  }

  read(sid: string, then?: (session: SessionData) => void): void {
    const record = this.#record("get", sid);
    const reads = this.#reads.get(sid) ?? new Set();
    this.#reads.set(sid, reads.add(record));
    const { hits } = this.#store.cacheStats;
    const { state, leaseAgeMs } = this.#store.clusterStats;
    this.#run<SessionData | null>(
      record,
      (done) =>
        this.#store.get(sid, (error, session) => {
          reads.delete(record);
          done(error, session);
        }),
      (session) => {
        if (session == null) {
          record.result = null;
          return;
        }
        const values = session as unknown as Values;
        record.result = values["v"] as number;
        const complaint = complaintAbout(values);
        if (complaint !== undefined) record.complaint ??= complaint;
        then?.(session);
        if (then === undefined) scribble(values);
      },
    );
    if (this.#store.cacheStats.hits === hits) return;
    record.isHit = true;
    if (state !== "live" || leaseAgeMs === null || leaseAgeMs >= this.#settings.lease.leaseMs) {
      record.complaint = `a hit while ${state}, the lease ${leaseAgeMs} ms old`;
    }
  }

  /** What a request does that loads its session and works, until it writes the session at its end. */
  #load({ thinkMs }: PlannedOperation, sid: string, then: (session: Loaded, loadedAt: number) => void): void {
    const loadedAt = this.#clock.now();
    this.read(sid, (data) => {
      const session = this.#store.createSession({ sessionID: sid } as never, data) as Loaded;
      this.#pending++;
      setTimeout(
        () => {
          this.#pending--;
          then(session, loadedAt);
        },
        Math.max(1, loadedAt + thinkMs - this.#clock.now()),
      );
    });
  }

  #valuesFor({ sid, version, owner }: PlannedOperation): Values {
    return {
      ...valuesFor(version, this.#settings.index),
      ...(owner !== undefined && { u: owner }),
      ...(sid.includes("long") && { padding: PADDING }),
    };
  }

  #changed(planned: PlannedOperation, session: Loaded): Values {
    const values = session as unknown as Values;
    Object.assign(values, this.#valuesFor(planned));
    values[`k${planned.version}`] = 1;
    session.cookie.expires = this.#endIn(planned.lifeMs);
    return values;
  }

  /** An end for the cookie of a session that is written. No two are the same. */
  #endIn(lifeMs: number): Date {
    let end = Date.now() + lifeMs;
    while (this.#ends.has(end)) end++;
    this.#ends.add(end);
    return new Date(end);
  }

  /** See `OperationRecord.stamp`. */
  #stampOf(session: Values): { stamp?: string } {
    const { expires } = session["cookie"] as { expires: Date };
    return this.#settings.merge ? {} : { stamp: expires.toISOString() };
  }

  #save(planned: PlannedOperation, session: Loaded, more: Partial<Open> = {}, answered?: () => void): void {
    const { sid, version, lifeMs } = planned;
    const base = (session as unknown as Values)["v"] as number;
    const values = this.#changed(planned, session);
    const stamp = this.#stampOf(values);
    const record = this.#record("save", sid, { version, base, lifeMs, ...stamp, ...more });
    this.#run(record, (done) => this.#store.set(sid, session, done), undefined, answered);
    if (planned.again === undefined) scribble(values);
  }

  /** A save that fails before it reaches Redis: nobody could find what it would write. */
  #saveInvalid(planned: PlannedOperation, session: Loaded): void {
    const values = this.#changed(planned, session);
    this.#run(this.#record("invalid", planned.sid), (done) => this.#store.set(planned.sid, session, done));
    scribble(values);
  }

  /** Saves a change, and then saves the session again: as it was, or changed further. */
  #saveTwice({ again, ...planned }: PlannedOperation, session: Loaded): void {
    const { version, sid } = planned;
    const values = session as unknown as Values;
    // Otherwise the age of the cookie would be a change.
    const lifeMs = session.cookie.originalMaxAge ?? planned.lifeMs;
    const base = values["v"] as number;
    const before = {
      ...valuesFor(base, values["w"] as number),
      ...(values["u"] !== undefined && { u: values["u"] }),
    };
    const saveAgain = () => {
      const revertOf = again?.isRevert ? { revertOf: version } : {};
      if (again?.isRevert) delete values[`k${version}`];
      if (again?.version !== undefined) {
        this.#save({ ...planned, version: again.version }, session, { base, ...revertOf });
        return;
      }
      Object.assign(values, before);
      session.cookie.expires = this.#endIn(lifeMs);
      const stamp = this.#stampOf(values);
      const record = { version: base, base, isRestore: true, lifeMs, ...stamp, ...revertOf };
      this.#run(this.#record("save", sid, record), (done) => this.#store.set(sid, session, done));
      scribble(values);
    };
    this.#save(
      { ...planned, ...(again && { again }) },
      session,
      {},
      again?.isAwaited ? saveAgain : undefined,
    );
    if (!again?.isAwaited) saveAgain();
  }

  /** What a request does at a login, or to rotate its id: the new session gets all that the old one had. */
  #regenerate(planned: PlannedOperation, former: Loaded): void {
    const { sid, newSid = "", lifeMs } = planned;
    const { v: base, u: formerOwner } = former as unknown as { v: number; u?: string };
    const owner = planned.owner ?? formerOwner;
    const request: Request = { sessionID: sid, session: former, newSid };
    const record = this.#record("regenerate", sid, { base });
    const regenerate = (done: Done<void>) => this.#store.regenerate(request as never, done);
    this.#run(record, regenerate, () => {
      const values = request.session as unknown as Values;
      Object.assign(values, this.#valuesFor({ ...planned, ...(owner !== undefined && { owner }) }));
      request.session.cookie.maxAge = lifeMs;
      request.session.cookie.expires = this.#endIn(lifeMs);
      const keepsOwner = owner !== undefined && owner === formerOwner;
      const to = this.#clock.now();
      this.#set({ ...planned, sid: newSid }, values, {
        replaced: { sid, keepsOwner, from: record.invokedAt, to },
      });
    });
  }

  /** By a session that was loaded, if it has an owner; else by a plain object, as other programs do. */
  #touch(planned: PlannedOperation): void {
    const { sid, lifeMs } = planned;
    if (!sid.includes("owned")) this.#touchBy(cookieFor(lifeMs) as unknown as SessionData, planned);
    else this.#load(planned, sid, (session, loadedAt) => this.#touchLoaded(planned, session, loadedAt));
  }

  #touchLoaded(planned: PlannedOperation, session: Loaded, loadedAt: number): void {
    session.cookie.expires = new Date(Date.now() + planned.lifeMs);
    this.#touchBy(session, planned, loadedAt);
  }

  #touchBy(session: SessionData, { sid, lifeMs }: PlannedOperation, loadedAt?: number): void {
    const record = this.#record("touch", sid, { lifeMs, ...(loadedAt !== undefined && { loadedAt }) });
    const { failedTouches } = this.#store.clusterStats;
    const noteFailure = () => {
      // It is reported by an event only.
      if (this.#store.clusterStats.failedTouches !== failedTouches) record.error ??= "perhaps";
    };
    this.#run(record, (done) => this.#store.touch(sid, session, done), noteFailure);
  }

  /** Another request of this process writes the session, and is not answered yet when this one touches it. */
  #cross(planned: PlannedOperation, session: Loaded, loadedAt: number): void {
    this.#setNew({ ...planned, lifeMs: planned.otherLifeMs as number });
    this.#touchLoaded(planned, session, loadedAt);
  }

  #record(kind: OperationRecord["kind"], sid: string, more: Partial<Open> = {}): Open {
    return { node: this.#settings.index, kind, sid, ...more, invokedAt: this.#clock.now() };
  }

  /** Each is to be answered once, whatever happens. */
  #run<T = void>(
    record: Open,
    work: (done: Done<T>) => unknown,
    succeeded?: (result: T | undefined) => void,
    answered?: () => void,
  ): void {
    this.#pending++;
    let answers = 0;
    work((error, result) => {
      const now = this.#clock.now();
      if (++answers > 1) {
        this.#complain(`callback of ${record.kind} ${record.sid} was called ${answers} times`);
        return;
      }
      this.#pending--;
      record.answeredAt = now;
      if (error == null) succeeded?.(result);
      else {
        record.error = (error as { code?: string }).code ?? String(error);
        // Whoever was told of a failed write looks what has become of it.
        if (record.kind !== "get" && record.sid !== "") this.read(record.sid);
      }
      // A hit is answered before all about it has been noted.
      queueMicrotask(() => this.#ended(record));
      answered?.();
    });
  }
}

/** For methods without a callback. */
function settle<T>(work: Promise<T>, done: Done<T>): void {
  work.then(
    (result) => done(null, result),
    (error: unknown) => done(error),
  );
}

function cookieFor(lifeMs: number, expires = new Date(Date.now() + lifeMs)): Values {
  return { cookie: { originalMaxAge: lifeMs, expires, httpOnly: true, path: "/" } };
}

function valuesFor(version: number, node: number): Values {
  return { v: version, w: node, nested: { v: version, list: [version] } };
}

/** Everything that a request might do to its own session. Nobody else may ever see it. */
function scribble(values: Values): void {
  const nested = values["nested"] as { v: number; list: number[] } | undefined;
  if (nested !== undefined) {
    nested.v = -1;
    nested.list.push(-1);
  }
  values["v"] = -1;
  values["scribbled"] = true;
}

function complaintAbout(values: Values): string | undefined {
  const nested = values["nested"] as { v?: unknown; list?: readonly unknown[] } | undefined;
  const isWhole = nested?.v === values["v"] && nested?.list?.length === 1 && !("scribbled" in values);
  return isWhole
    ? undefined
    : `another request's changes: ${JSON.stringify({ ...values, cookie: undefined })}`;
}
