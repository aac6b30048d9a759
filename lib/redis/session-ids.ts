import { describeValue } from "../reporting/errors.ts";
import type { CommandBatch } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { CommandExecutor } from "./executor.ts";
import { asPage } from "./replies.ts";
import { MAX_BATCH_SIZE } from "./session-values.ts";
import type { Topology } from "./topology.ts";

/** A part of all session ids. */
export interface SidsPage {
  readonly sids: readonly string[];
  /** Where to continue, perhaps with some of this page again; undefined after the last page. */
  readonly next: string | undefined;
}

const FIRST_PAGE = "0:0";

/**
 * The ids of all sessions in Redis, as SCAN returns them. A session that exists throughout is returned at least once, perhaps
 * twice; not if it moves to another primary of a Cluster meanwhile. A page has at most as many as one command may name, since
 * callers run an operation for each.
 * @param scanCount about how many keys Redis examines for each page
 * @param withDeadline runs each call under a deadline of its own
 * @param from where to begin: the `next` of an earlier page
 * @throws TypeError if `from` is not a `next`
 */
export async function* pagesOfSids(
  topology: Topology,
  scanCount: number,
  withDeadline: <T>(call: (deadline: Deadline) => Promise<T>) => Promise<T>,
  from: string = FIRST_PAGE,
): AsyncGenerator<SidsPage> {
  const executor = new CommandExecutor(topology);
  const { fullPrefix } = topology;
  const options = { MATCH: `${escapeGlob(fullPrefix)}*`, COUNT: scanCount };
  const primaries = await withDeadline((deadline) => topology.primaryIds(deadline));
  const start = /^(\d+):(\d+)$/.exec(from);
  let position = Number(start?.[1] ?? Number.NaN);
  let cursor = start?.[2] ?? "";
  if (!(position < primaries.length)) {
    throw new TypeError(
      `cursor: expected one that an earlier run on the same Redis returned, got ${describeValue(from)}`,
    );
  }
  while (position < primaries.length) {
    const command = {
      name: "SCAN",
      acl: "+scan",
      target: { primary: primaries[position] as string },
      build: (batch: CommandBatch) => batch.scan(cursor, options),
    };
    const [reply] = await withDeadline((deadline) => executor.send(deadline, command));
    const page = asPage(reply) ?? executor.unexpected("SCAN", reply);
    const sids = page.keys.map((key) => key.slice(fullPrefix.length));
    while (sids.length > MAX_BATCH_SIZE)
      yield { sids: sids.splice(0, MAX_BATCH_SIZE), next: `${position}:${cursor}` };
    cursor = page.cursor;
    if (cursor === "0") position++;
    yield { sids, next: position < primaries.length ? `${position}:${cursor}` : undefined };
  }
}

/** Escapes SCAN's wildcards. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, "\\$&");
}
