/** A node: a process with a store of its own, which plays its part of the schedule and tells the checker what it saw. */
import { setTimeout as pause } from "node:timers/promises";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { Clock } from "./clock.ts";
import {
  type EventRecord,
  type FromNode,
  type NodeSettings,
  type OperationRecord,
  type PlannedOperation,
  type Rest,
  type ToNode,
  UNKNOWN_OWNER,
  UNKNOWN_OWNER_ERROR,
} from "./protocol.ts";
import { type Connections, connectionsFor, outsideWriter, skipReplies } from "./worker-clients.ts";
import { Operations } from "./worker-operations.ts";

const REPORT_MS = 100;
const SETTLE_MS = 30_000;
const REINDEX_ATTEMPTS = 5;

/** How far the wall clock of this process is ahead of the machine's. */
let clockStepMs = 0;
const machineNow = Date.now;
Date.now = () => machineNow() + clockStepMs;

const say = (message: FromNode) => process.send?.(message);
const complain = (text: string) => say({ type: "complaint", text });

process.on("unhandledRejection", (error) => complain(`unhandled rejection: ${String(error)}`));
process.on("uncaughtException", (error) => complain(`uncaught exception: ${error.stack}`));
process.on("disconnect", () => process.exit());

let records: OperationRecord[] = [];
let events: EventRecord[] = [];
setInterval(() => {
  if (records.length === 0 && events.length === 0) return;
  say({ type: "records", records, events });
  records = [];
  events = [];
}, REPORT_MS);

process.once("message", (message: ToNode) => {
  if (message.type === "start") void run(message.settings);
});

async function run(settings: NodeSettings): Promise<void> {
  const clock = new Clock(settings.clockOrigin);
  const connections = connectionsFor(settings);
  const store = await makeStore(settings, connections);
  watch(store, settings.index, clock);
  const ended = (record: OperationRecord) => records.push(record);
  const operations = new Operations(store, settings, clock, ended, complain, outsideWriter(settings));
  let upcoming: readonly PlannedOperation[] = [];

  process.on("message", (message: ToNode) => {
    if (message.type === "play") {
      upcoming = message.operations.filter(({ at }) => at >= message.from);
      play(message.startedAt);
    } else if (message.type === "settle") void settle();
    else if (message.type === "perform") begin(message.operation);
    else if (message.type === "reindex") void reindex();
    else if (message.type === "skip replies") void skip();
    else if (message.type === "step clock") clockStepMs = message.byMs;
    else if (message.type === "rest") void rest(message.sids, message.owners);
  });

  /** Then nothing begins: what was planned for that time is left out. */
  let isIdle = false;
  function begin(planned: PlannedOperation): void {
    if (!isIdle) operations.begin(planned);
  }

  let timer: NodeJS.Timeout | undefined;
  function play(startedAt: number): void {
    clearTimeout(timer);
    let i = 0;
    const now = () => clock.now() - startedAt;
    while (i < upcoming.length && (upcoming[i] as PlannedOperation).at <= now()) {
      begin(upcoming[i++] as PlannedOperation);
    }
    upcoming = upcoming.slice(i);
    const [next] = upcoming;
    if (next !== undefined) timer = setTimeout(() => play(startedAt), Math.max(1, next.at - now()));
  }

  async function settle(): Promise<void> {
    const end = clock.now() + SETTLE_MS;
    const isDone = () =>
      upcoming.length === 0 && operations.pending === 0 && store.coordinator?.state === "live";
    while (!isDone() && clock.now() < end) await pause(20);
    const isLive = store.coordinator?.state === "live";
    say({ type: "settled", pending: operations.pending, isLive });
  }

  async function rest(sids: readonly string[], owners: readonly string[]): Promise<void> {
    for (const sid of sids) operations.read(sid);
    for (const owner of owners) operations.list(owner);
    const end = clock.now() + SETTLE_MS;
    while (operations.pending > 0 && clock.now() < end) await pause(20);
    // On a busy machine a lease as short as this may lapse for a moment even at rest: what counts is that it comes back.
    let { redis, subscribed, tracking } = await store.health();
    while (!(redis && subscribed && tracking !== false) && clock.now() < end) {
      await pause(20);
      ({ redis, subscribed, tracking } = await store.health());
    }
    (globalThis as { gc?: () => void }).gc?.();
    const { hits } = store.cacheStats;
    const { resurrections, fencedFills, conflicts } = store.clusterStats;
    const state: Rest = {
      entries: [...store.localCache.entries()].map(([sid, { text, expiresAt }]) =>
        expiresAt === undefined
          ? { sid, text }
          : // In this order, one that is interrupted between the two clocks does not seem to end later.
            { sid, text, expiresAt: Date.now() - performance.now() + expiresAt },
      ),
      pending: operations.pending,
      health: { redis, subscribed, tracking },
      heapBytes: process.memoryUsage().heapUsed,
      ...{ hits, resurrections, fencedFills, conflicts },
    };
    say({ type: "records", records, events });
    records = [];
    events = [];
    say({ type: "resting", rest: state });
  }

  async function skip(): Promise<void> {
    isIdle = true;
    const end = clock.now() + SETTLE_MS;
    const isReady = () => operations.pending === 0 && store.coordinator?.state === "live";
    while (!isReady() && clock.now() < end) await pause(5);
    if (isReady()) await skipReplies(connections.client);
    isIdle = false;
    say({ type: "skipped" });
  }

  async function reindex(): Promise<void> {
    let failure: unknown;
    // On a busy machine a batch may take too long.
    for (let attempt = 1; attempt <= REINDEX_ATTEMPTS; attempt++) {
      failure = await store.reindex().then(() => undefined, String);
      if (failure === undefined) break;
    }
    if (failure !== undefined) complain(`reindex: ${failure}`);
    say({ type: "reindexed" });
  }

  for (;;) {
    try {
      await store.ready();
      break;
    } catch {
      // Its subscriber may be under a fault.
    }
  }
  say({ type: "live" });
}

async function makeStore(
  settings: NodeSettings,
  { client, subscriber }: Connections,
): Promise<ClusteredRedisStore> {
  const library = (await import(settings.library)) as typeof import("../../lib/index.ts");
  const parse = async (text: string) => {
    await pause(text.length % 3 === 0 ? 15 : 1);
    return JSON.parse(text);
  };
  return new library.ClusteredRedisStore({
    client,
    prefix: settings.prefix,
    onConflict: settings.merge ? "merge" : "overwrite",
    commandTimeoutMs: settings.commandTimeoutMs,
    ...(settings.touchAfterMs !== undefined && { touchAfterMs: settings.touchAfterMs }),
    ...(settings.isIndexed && { indexBy: ownerOf }),
    localCache: {
      ttlMs: settings.cacheTtlMs,
      staleIfErrorMs: settings.staleIfErrorMs,
      ...(settings.cacheSize !== undefined && { maxSize: settings.cacheSize }),
    },
    ...(settings.asyncParse && { serializer: { parse, stringify: JSON.stringify } }),
    cluster: {
      ...settings.lease,
      channel: settings.channel,
      nodeId: settings.label,
      tracking: settings.isTracked,
      ...(subscriber !== undefined && { subscriber }),
    },
  });
}

function ownerOf(session: object): string | undefined {
  const { u } = session as { u?: string };
  if (u === UNKNOWN_OWNER) throw new Error(UNKNOWN_OWNER_ERROR);
  return u;
}

function watch(store: ClusteredRedisStore, node: number, clock: Clock): void {
  const note = (name: string, detail?: string, sid?: string) =>
    events.push({
      node,
      at: clock.now(),
      name,
      ...(sid !== undefined && { sid }),
      ...(detail !== undefined && { detail }),
    });
  store.on("invalidate", (sid: string, from: string) => note("invalidate", `from ${from}`, sid));
  store.on("destroyed", (sid: string, from: string) => note("destroyed", `from ${from}`, sid));
  store.on("resurrection", (sid: string) => note("resurrection", undefined, sid));
  store.on("stale", (sid: string) => note("stale", undefined, sid));
  store.on("live", () => note("live"));
  store.on("suspect", (reason: string) => note("suspect", reason));
  store.on("flush", (reason: string) => note("flush", reason));
  store.on("clusterError", (error: Error) => note("clusterError", error.message));
}
