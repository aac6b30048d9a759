import { setTimeout as sleep } from "node:timers/promises";
import { type DeviceName, NODES, type Scene, type Step } from "./script.ts";
import type { Answer, Visitor } from "./visitor.ts";

/** What happens while a script is played, for whoever shows it. */
export type Happening =
  | { readonly type: "scene"; readonly title: string }
  | { readonly type: "answer"; readonly step: Step; readonly answer: Answer; readonly isAsExpected: boolean }
  | {
      readonly type: "received";
      readonly nodes: readonly number[];
      readonly ms: number;
      readonly inTime: boolean;
    };

const RECEIVING_LIMIT_MS = 30_000;
const POLL_MS = 2;
/** A node that waits for longer for Redis, on a machine that stands still for a moment, may not cache the session. */
const SLOW_MS = 500;
const MOST_LOOKS = 20;

/** Plays a script and tells what happens. Each write is followed by a wait until all other nodes have received it. */
export async function* play(
  script: readonly Scene[],
  newVisitor: (device: DeviceName) => Visitor,
): AsyncGenerator<Happening> {
  const visitors = new Map<DeviceName, Visitor>();
  for (const { title, steps } of script) {
    yield { type: "scene", title };
    for (const step of steps) {
      const visitor = visitors.get(step.from) ?? newVisitor(step.from);
      visitors.set(step.from, visitor);
      const before = step.method === "POST" ? await messages(visitor) : undefined;
      const answer = await visitor.request(step.method, step.path, step.node);
      yield { type: "answer", step, answer, isAsExpected: isAsExpected(step, answer) };
      if (before !== undefined) yield await received(visitor, before, answer.node);
      if (answer.ms > SLOW_MS && answer.seen !== "nobody") await cached(visitor, answer.node);
    }
  }
}

function isAsExpected(step: Step, answer: Answer): boolean {
  return (
    (step.node === undefined || answer.node === step.node) &&
    answer.read === step.read &&
    answer.seen === step.seen &&
    (step.needsRedis ? answer.commands > 0 : answer.commands === 0)
  );
}

/** Looks until the node has the visitor's session in its cache: the next steps are about that. */
async function cached(visitor: Visitor, node: number): Promise<void> {
  for (let looks = 0; looks < MOST_LOOKS; looks++) {
    if ((await visitor.request("GET", "/me", node, "look")).read === "hit") return;
  }
}

interface Messages {
  readonly published: number;
  readonly processed: number;
}

/**
 * A node may serve its cached copy until the message about a write arrives. So before it asks another node, the demo waits
 * until that one has processed a message. Each POST of the script publishes one that reaches every node: about a session
 * that all of them cache, or about a deletion. A login also publishes one about the new session, which no other node caches.
 */
async function received(
  visitor: Visitor,
  before: ReadonlyMap<number, Messages>,
  writer: number,
): Promise<Happening> {
  const start = performance.now();
  const nodes = NODES.filter((node) => node !== writer);
  const grown = (now: ReadonlyMap<number, Messages>, node: number, what: keyof Messages) =>
    (now.get(node)?.[what] ?? 0) - (before.get(node)?.[what] ?? 0);
  for (;;) {
    const now = await messages(visitor);
    const ms = performance.now() - start;
    const sent = grown(now, writer, "published");
    const inTime = sent > 0 && nodes.every((node) => grown(now, node, "processed") > 0);
    if (inTime || ms > RECEIVING_LIMIT_MS) return { type: "received", nodes, ms, inTime };
    await sleep(POLL_MS);
  }
}

async function messages(visitor: Visitor): Promise<ReadonlyMap<number, Messages>> {
  const found = await Promise.all(
    NODES.map(async (node) => {
      const { messagesPublished, invalidations } = (await visitor.stats(node)).clusterStats;
      return [node, { published: messagesPublished, processed: invalidations }] as const;
    }),
  );
  return new Map(found);
}
