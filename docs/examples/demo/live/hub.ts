import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { ClusterNode } from "../cluster-node.ts";
import type { LogLine, NodeNews, NodeView, PageState, RequestNews, Snapshot, Totals } from "./news.ts";
import { Viewers } from "./viewers.ts";
import { flightOf, lineOf } from "./wording.ts";

const MOST_LINES = 40;
/** However much happens, the page is drawn no more often. */
const STATE_MS = 100;
const NOTHING: Totals = { requests: 0, saved: 0, commands: 0, connectRedis: 0, background: 0 };

/** What the page shows besides the nodes. */
export type Surroundings = Pick<PageState, "redis" | "hasTraffic">;

/** Gathers what the nodes tell, and passes it on to all who look at the page. */
export class Hub {
  readonly #run = randomUUID();
  readonly #nodes: readonly ClusterNode[];
  readonly #surroundings: () => Surroundings;
  readonly #viewers = new Viewers();
  readonly #snapshots = new Map<number, Snapshot>();
  readonly #last = new Map<number, RequestNews>();
  #log: readonly LogLine[] = [];
  #lines = 0;
  #totals = NOTHING;
  #stateTimer: NodeJS.Timeout | undefined;

  constructor(nodes: readonly ClusterNode[], surroundings: () => Surroundings) {
    this.#nodes = nodes;
    this.#surroundings = surroundings;
    for (const node of nodes) node.on("news", (news) => this.#onNews(node.number, news));
  }

  join(res: ServerResponse): void {
    this.#viewers.add(res, { run: this.#run, log: this.#log }, this.#state());
  }

  say(text: string, tone: LogLine["tone"] = "plain", node?: number): void {
    const line: LogLine = { id: ++this.#lines, at: Date.now(), node, tone, text };
    this.#log = [...this.#log.slice(1 - MOST_LINES), line];
    this.#viewers.send("log", line);
    this.changed();
  }

  /** Something on the page is not as it was. */
  changed(): void {
    this.#stateTimer ??= setTimeout(() => {
      this.#stateTimer = undefined;
      if (this.#viewers.count > 0) this.#viewers.send("state", this.#state());
    }, STATE_MS).unref();
  }

  reset(): void {
    this.#totals = NOTHING;
    this.changed();
  }

  close(): void {
    clearTimeout(this.#stateTimer);
    this.#viewers.close();
  }

  #onNews(node: number, news: NodeNews): void {
    // Otherwise looking at the account page would change what this page shows.
    if (news.type === "request" && news.isLook) return;
    if (news.type === "snapshot") {
      this.#snapshots.set(node, news.snapshot);
      this.#count({ background: news.background });
    } else if (news.type === "request") {
      if (!news.isTraffic) this.#last.set(node, news);
      const { calls, commands, status } = news;
      const saved = commands === 0 && status < 500 ? 1 : 0;
      if (calls > 0) this.#count({ requests: 1, saved, commands, connectRedis: calls });
    } else if (news.type === "ended") {
      this.#snapshots.delete(node);
      this.#last.delete(node);
    }
    const flight = flightOf(node, news);
    if (flight !== undefined) this.#viewers.send("flight", flight);
    const line = lineOf(news, this.#surroundings().hasTraffic);
    if (line === undefined) this.changed();
    else this.say(line.text, line.tone, node);
  }

  #count(more: Partial<Totals>): void {
    const { requests, saved, commands, connectRedis, background } = this.#totals;
    this.#totals = {
      requests: requests + (more.requests ?? 0),
      saved: saved + (more.saved ?? 0),
      commands: commands + (more.commands ?? 0),
      connectRedis: connectRedis + (more.connectRedis ?? 0),
      background: background + (more.background ?? 0),
    };
  }

  #state(): PageState {
    const nodes = this.#nodes.map((node): NodeView => {
      const { number, status, isCut, uncuttable } = node;
      // The last words of a node that was killed may arrive after its end.
      const snapshot = status === "up" ? (this.#snapshots.get(number) ?? null) : null;
      return { number, status, isCut, uncuttable, snapshot, last: this.#last.get(number) ?? null };
    });
    return { ...this.#surroundings(), nodes, totals: this.#totals };
  }
}
