import { conflictError, decode, encode, MAX_CONFLICTS, notUtf8Error } from "./serializer.ts";
import type { SessionOperations } from "./session-operations.ts";

/** How far `reencode` has come. */
export interface ReencodeProgress {
  /** Sessions examined. */
  readonly scanned: number;
  /** Of these, the ones whose value was replaced. */
  readonly rewritten: number;
  /** Of these, the ones that cannot be decoded or encoded: each is reported as `clusterError`, and not modified. */
  readonly skipped: number;
  /** Where to continue: pass it to `reencode`. Undefined when finished. */
  readonly cursor: string | undefined;
}

/** Options of `reencode`. */
export interface ReencodeOptions {
  /** The cursor of an earlier run. @default the beginning */
  readonly cursor?: string | undefined;
  /** Called after each batch. */
  readonly onProgress?: ((progress: ReencodeProgress) => void) | undefined;
}

/**
 * Decodes each session's value and encodes it again, in place. A value is replaced only if it is what was decoded, and its key
 * keeps its expiry: what is deleted stays deleted, and no newer value is lost.
 *
 * Nothing is published, because no session changes. A cached copy then has an outdated value: its next merge or indexed touch
 * finds that out, and takes a second round trip.
 */
export async function reencode(
  operations: SessionOperations,
  { cursor, onProgress }: ReencodeOptions,
): Promise<ReencodeProgress> {
  const rewrite = (sid: string, value: string) =>
    rewriteOne(operations, sid, value).catch((error: unknown): Outcome => {
      const { code } = error as { code?: unknown };
      if (code !== "ERR_SESSION_CORRUPT" && code !== "ERR_SESSION_SERIALIZE") throw error;
      operations.emit("clusterError", error as Error);
      return "skipped";
    });
  let progress: ReencodeProgress = { scanned: 0, rewritten: 0, skipped: 0, cursor };
  for await (const { sids, next } of operations.pages(cursor)) {
    const found = await operations.readMany(sids);
    const outcomes = await Promise.all(found.map(({ sid, stored }) => rewrite(sid, stored.value as string)));
    const count = (outcome: Outcome) => outcomes.filter((each) => each === outcome).length;
    progress = {
      scanned: progress.scanned + found.length,
      rewritten: progress.rewritten + count("rewritten"),
      skipped: progress.skipped + count("skipped"),
      cursor: next,
    };
    onProgress?.(progress);
  }
  return progress;
}

type Outcome = "rewritten" | "skipped" | "unchanged" | "gone";

/** Others may write the session meanwhile, also with another codec: then it is tried again with what they have written. */
async function rewriteOne(operations: SessionOperations, sid: string, value: string): Promise<Outcome> {
  let expected = value;
  for (let conflicts = 0; conflicts <= MAX_CONFLICTS; conflicts++) {
    const text = encode(operations.format, sid, decode(operations.format, sid, expected));
    if (text === expected) return "unchanged";
    const rewriting = { sid, expected, text };
    const result = await operations.queue.run("reencode", sid, (deadline) =>
      operations.commands.rewrite(deadline, rewriting),
    );
    if (result.written) return "rewritten";
    if (result.current === null) return "gone";
    if (result.current === expected) throw notUtf8Error(operations.format, sid);
    expected = result.current;
  }
  throw conflictError(operations.format, sid);
}
