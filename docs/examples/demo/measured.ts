import type { ClusteredRedisStore } from "clustered-redis-store";
import type { Request, RequestHandler, Response } from "express";
import { digestOf } from "./digest.ts";
import { countingInto, type RedisWork } from "./redis-commands.ts";

/**
 * How a request got its session: from the cache; from Redis; from Redis because the cache is not in use; as it was last verified,
 * because Redis does not answer; or not at all, because it brought no cookie.
 */
export type Read = "hit" | "miss" | "bypass" | "stale" | "none";

/** What a request took, once it is answered. */
export interface Outcome extends Readonly<Omit<RedisWork, "isStale">> {
  readonly read: Read;
  readonly ms: number;
  /** Of the id of the session that the visitor has now. */
  readonly digest: string;
}

export type Observer = (req: Request, res: Response, outcome: Outcome) => void;

/**
 * Tells in the headers of each answer what it took. express-session writes head and body *before* it saves or touches the
 * session, and ends the answer after; so both are held back here until the end, or the headers could not count that.
 */
export function measured(node: number, store: ClusteredRedisStore, observe: Observer): RequestHandler {
  return (req, res, next) => {
    const before = store.cacheStats;
    const work: RedisWork = { calls: 0, commands: 0, isStale: false };
    const start = performance.now();
    const held: Buffer[] = [];
    const hold = (chunk: unknown) => {
      if (typeof chunk === "string" || chunk instanceof Uint8Array) held.push(Buffer.from(chunk as string));
    };
    // Looked at once, while no other request can have moved the counters: the session is asked for synchronously.
    let read: Read | undefined;
    const look = () => {
      read ??= readSince(before, store, req);
      return read;
    };

    let isSaved = false;
    const writeHead = res.writeHead.bind(res);
    res.writeHead = ((status: number) => (isSaved ? writeHead(status) : res)) as typeof res.writeHead;
    res.write = ((chunk: unknown) => {
      hold(chunk);
      return true;
    }) as typeof res.write;
    const end = res.end.bind(res);
    res.end = ((chunk?: unknown) => {
      isSaved = true;
      hold(chunk);
      res.setHeader("x-demo-node", node);
      const outcome = work.isStale ? "stale" : look();
      res.setHeader("x-demo-session", outcome);
      res.setHeader("x-demo-redis-commands", work.commands);
      const digest = digestOf(req.sessionID ?? "");
      res.setHeader("x-demo-digest", digest);
      const { calls, commands } = work;
      observe(req, res, { read: outcome, calls, commands, ms: performance.now() - start, digest });
      return end(Buffer.concat(held));
    }) as typeof res.end;

    countingInto(work, next);
    look();
  };
}

function readSince(before: { hits: number; misses: number }, store: ClusteredRedisStore, req: Request): Read {
  const { hits, misses } = store.cacheStats;
  if (hits > before.hits) return "hit";
  if (misses > before.misses) return "miss";
  return req.headers.cookie === undefined || store.clusterStats.state === "live" ? "none" : "bypass";
}
