import type { ClusteredRedisStore, StoredSession } from "clustered-redis-store";
import { digestOf } from "./digest.ts";
import type { NodeNews, RequestNews, Snapshot } from "./live/news.ts";
import type { Observer } from "./measured.ts";
import { takeBackground } from "./redis-commands.ts";

const SNAPSHOT_MS = 500;
const MOST_SESSIONS = 12;

/** The times that the store was given; it does not tell them itself. */
export type Times = Pick<Snapshot, "leaseMs" | "cacheTtlMs" | "staleIfErrorMs">;

/** Tells main.ts what happens in this process, for the page. */
export class Telling {
  readonly #store: ClusteredRedisStore;
  readonly #times: Times;
  readonly #entries = new WeakMap<StoredSession, { readonly number: number; readonly since: number }>();
  #lastEntry = 0;
  #isSnapshotDue = false;

  constructor(store: ClusteredRedisStore, times: Times) {
    this.#store = store;
    this.#times = times;
    store.on("live", () => this.#happened({ type: "live" }));
    store.on("suspect", (reason: string) => this.#happened({ type: "suspect", reason }));
    store.on("flush", (reason: string) => this.#happened({ type: "flush", reason }));
    store.on("invalidate", (sid: string, from: string) => {
      this.#happened({ type: "invalidate", digest: digestOf(sid), from });
    });
    store.on("resurrection", (sid: string) =>
      this.#happened({ type: "resurrection", digest: digestOf(sid) }),
    );
    // The lease goes by even if nothing happens.
    setInterval(() => this.#snapshot(), SNAPSHOT_MS).unref();
  }

  listening(port: number): void {
    tell({ type: "listening", port });
    this.#snapshot();
  }

  /** A request has been answered. */
  readonly answered: Observer = (req, res, { read, calls, commands, ms, digest }) => {
    const { method, path, session } = req;
    const visitor = session?.visitor;
    const seen = visitor === undefined ? "nobody" : [visitor.user, visitor.theme].filter(Boolean).join(", ");
    this.#happened({
      type: "request",
      method,
      path,
      status: res.statusCode,
      read,
      calls,
      commands,
      ms,
      digest,
      seen: res.statusCode >= 500 ? String(res.locals["failure"]) : seen,
      isTraffic: req.get("x-demo-visitor") === "traffic",
      isLook: req.get("x-demo-visitor") === "look",
    } satisfies RequestNews);
  };

  #happened(news: NodeNews): void {
    tell(news);
    if (this.#isSnapshotDue) return;
    this.#isSnapshotDue = true;
    // After all that belongs to it, which may be more than one event.
    setImmediate(() => this.#snapshot());
  }

  #snapshot(): void {
    this.#isSnapshotDue = false;
    const { hits, misses } = this.#store.cacheStats;
    const { state, leaseAgeMs, messagesPublished, invalidations } = this.#store.clusterStats;
    const cached = this.#cached();
    const snapshot: Snapshot = {
      ...this.#times,
      state,
      leaseAgeMs,
      hits,
      misses,
      published: messagesPublished,
      received: invalidations,
      cached: cached.slice(0, MOST_SESSIONS),
      cacheSize: cached.length,
    };
    tell({ type: "snapshot", snapshot, background: takeBackground() });
  }

  #cached(): Snapshot["cached"] {
    const now = performance.now();
    const found = Array.from(this.#store.localCache.entries(), ([sid, stored]) => {
      const { visitor } = JSON.parse(stored.text) as { visitor?: { user: string; theme: string | null } };
      const entry = this.#entries.get(stored) ?? { number: ++this.#lastEntry, since: now };
      this.#entries.set(stored, entry);
      const { user = null, theme = null } = visitor ?? {};
      return { entry: entry.number, digest: digestOf(sid), user, theme, ageMs: now - entry.since };
    });
    return found.sort((one, other) => one.ageMs - other.ageMs);
  }
}

function tell(news: NodeNews): void {
  // Who would listen may just have gone.
  process.send?.(news, () => {});
}
