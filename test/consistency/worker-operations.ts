import type { SessionData } from "express-session";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import type { Clock } from "./clock.ts";
import type { NodeSettings, OperationRecord, PlannedOperation } from "./protocol.ts";

type Values = Record<string, unknown>;
type Open = { -readonly [K in keyof OperationRecord]: OperationRecord[K] };

/** Carries out planned operations on the node's store, as express-session would, and notes how each went. */
export class Operations {
  readonly #store: ClusteredRedisStore;
  readonly #settings: NodeSettings;
  readonly #clock: Clock;
  readonly #ended: (record: OperationRecord) => void;
  readonly #complain: (text: string) => void;
  #pending = 0;

  constructor(
    store: ClusteredRedisStore,
    settings: NodeSettings,
    clock: Clock,
    ended: (record: OperationRecord) => void,
    complain: (text: string) => void,
  ) {
    this.#store = store;
    this.#settings = settings;
    this.#clock = clock;
    this.#ended = ended;
    this.#complain = complain;
  }

  /** Operations whose callback has not been called. */
  get pending(): number {
    return this.#pending;
  }

  begin(planned: PlannedOperation): void {
    const { kind, sid, version } = planned;
    if (kind === "get") this.read(sid);
    else if (kind === "save") this.#loadThenSave(planned);
    else if (kind === "touch") this.#touch(planned);
    else if (kind === "destroy") this.#run(this.#record(kind, sid), (done) => this.#store.destroy(sid, done));
    else if (kind === "clear") this.#run(this.#record(kind, sid), (done) => this.#store.clear(done));
    else {
      const session = { ...cookieFor(planned.lifeMs), ...valuesFor(version, this.#settings.index) };
      const record = this.#record(kind, sid, { version, lifeMs: planned.lifeMs });
      this.#run(record, (done) => this.#store.set(sid, session as unknown as SessionData, done));
      // The request goes on with its session; what is written is what it was when set was called.
      scribble(session);
    }
  }

  read(sid: string, then?: (session: SessionData) => void): void {
    const record = this.#record("get", sid);
    const { hits } = this.#store.cacheStats;
    const { state, leaseAgeMs } = this.#store.clusterStats;
    this.#run<SessionData | null>(
      record,
      (done) => this.#store.get(sid, done),
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

  /** What a request does that loads its session, works, and saves it at its end. */
  #loadThenSave({ sid, version, lifeMs, thinkMs }: PlannedOperation): void {
    this.read(sid, (data) => {
      const base = (data as unknown as Values)["v"] as number;
      const session = this.#store.createSession({ sessionID: sid } as never, data);
      this.#pending++;
      setTimeout(() => {
        this.#pending--;
        const values = session as unknown as Values;
        Object.assign(values, valuesFor(version, this.#settings.index));
        values[`k${version}`] = 1;
        session.cookie.expires = new Date(Date.now() + lifeMs);
        const record = this.#record("save", sid, { version, base, lifeMs });
        this.#run(record, (done) => this.#store.set(sid, session, done));
        scribble(values);
      }, thinkMs);
    });
  }

  #touch({ sid, lifeMs }: PlannedOperation): void {
    const record = this.#record("touch", sid, { lifeMs });
    const session = cookieFor(lifeMs) as unknown as SessionData;
    this.#run(record, (done) => this.#store.touch(sid, session, done));
  }

  #record(kind: OperationRecord["kind"], sid: string, more: Partial<Open> = {}): Open {
    return { node: this.#settings.index, kind, sid, ...more, invokedAt: this.#clock.now() };
  }

  /** Each is to be answered once, whatever happens. */
  #run<T = void>(
    record: Open,
    work: (done: (error: unknown, result?: T) => void) => unknown,
    succeeded?: (result: T | undefined) => void,
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
    });
  }
}

function cookieFor(lifeMs: number): Values {
  const expires = new Date(Date.now() + lifeMs);
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
