import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { ClusterNode } from "../cluster-node.ts";
import type { Commands, LogLine, NodeNews, NodeView, PageState, RequestNews, Snapshot } from "./news.ts";
import { Viewers } from "./viewers.ts";
import { flightOf, lineOf } from "./wording.ts";

const MOST_LINES = 40;
/** However much happens, the page is drawn no more often. */
const STATE_MS = 100;
const NOTHING: Commands = { requests: 0, background: 0, connectRedis: 0 };

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
  #commands = NOTHING;
  #stateTimer: NodeJS.Timeout | undefined;

  constructor(nodes: readonly ClusterNode[], surroundings: () => Surroundings) {
    this.#nodes = nodes;
    this.#surroundings = surroundings;
    for (const node of nodes) node.on("news", (news) => this.#hear(node.number, news));
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

  countAnew(): void {
    this.#commands = NOTHING;
    this.changed();
  }

  close(): void {
    clearTimeout(this.#stateTimer);
    this.#viewers.close();
  }

  #hear(node: number, news: NodeNews): void {
    // Else that somebody looks would change what he sees.
    if (news.type === "request" && news.isLook) return;
    if (news.type === "snapshot") {
      this.#snapshots.set(node, news.snapshot);
      this.#count({ background: news.background });
    } else if (news.type === "request") {
      if (!news.isTraffic) this.#last.set(node, news);
      this.#count({ requests: news.commands, connectRedis: news.calls });
    } else if (news.type === "ended") {
      this.#snapshots.delete(node);
    }
    const flight = flightOf(node, news);
    if (flight !== undefined) this.#viewers.send("flight", flight);
    const line = lineOf(news, this.#surroundings().hasTraffic);
    if (line === undefined) this.changed();
    else this.say(line.text, line.tone, node);
  }

  #count(more: Partial<Commands>): void {
    const { requests, background, connectRedis } = this.#commands;
    this.#commands = {
      requests: requests + (more.requests ?? 0),
      background: background + (more.background ?? 0),
      connectRedis: connectRedis + (more.connectRedis ?? 0),
    };
  }

  #state(): PageState {
    const nodes = this.#nodes.map((node): NodeView => {
      const { number, status, isCut, uncuttable } = node;
      // The last words of a node that was killed may arrive after its end.
      const snapshot = status === "up" ? (this.#snapshots.get(number) ?? null) : null;
      return { number, status, isCut, uncuttable, snapshot, last: this.#last.get(number) ?? null };
    });
    return { ...this.#surroundings(), nodes, commands: this.#commands };
  }
}
