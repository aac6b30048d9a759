import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "redis";
import type { Clock } from "../clock.ts";
import { argumentsOf } from "../redis-record.ts";

/** Something that one server has carried out, or that was found out about it. */
export interface ServerEvent {
  /**
   * - `set`, `del`: a session was written, or deleted.
   * - `arrived`, `left`: its slot moves, and it with it.
   * - `held`: what the server was found to hold of it.
   * - `role`: it is a primary, or a replica, from now on at the latest.
   * - `read`: a node read it.
   * - `killed`: it was, or nobody listened to it for a moment: some of its words may be missing.
   */
  readonly kind: "set" | "del" | "arrived" | "left" | "held" | "role" | "read" | "killed";
  readonly sid: string;
  readonly at: number;
  /** Of a set: the value. */
  readonly text?: string;
  readonly mustExist?: boolean;
  /** Of what was held: filled in when the answer is there; undefined when there was none. */
  readonly answer?: { text: string | null | undefined };
  /** It came from the server's own primary. */
  readonly isReplicated?: boolean;
  readonly node?: number | undefined;
  /** Of a role: the port of its primary; undefined if it is one. And when it was last seen in another. */
  readonly primaryPort?: number | undefined;
  readonly notBefore?: number;
}

const LINE = /^(\d+\.\d+) \[\d+ ([^\]]+)\] "([A-Za-z-]+)"/;
const WANTED = new Set([
  ...["SET", "DEL", "UNLINK", "GET", "GETRANGE", "MIGRATE", "RESTORE", "RESTORE-ASKING"],
  ...["HELLO", "CLIENT", "ECHO", "EVAL", "EVALSHA"],
]);

/** What one server itself says (MONITOR) that it carries out, be it for a client or after its primary. */
export class ServerRecord {
  readonly events: ServerEvent[] = [];
  readonly #url: string;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #serverPorts: ReadonlySet<number>;
  readonly #nodes = new Map<string, number>();
  readonly #asked = new Map<string, { text: string | null | undefined }[]>();
  #checkers = new Set<string>();
  #sids: ReadonlySet<string> = new Set();
  #wallOffset = 0;
  #monitor: { destroy(): void } | undefined;
  /** Who has begun the last script: its commands come right after it. */
  #scripter = "";
  #lastChange = 0;
  #echoed = "";

  constructor(url: string, prefix: string, clock: Clock, serverPorts: ReadonlySet<number>) {
    this.#url = url;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#serverPorts = serverPorts;
  }

  async listen(): Promise<void> {
    this.close();
    this.#nodes.clear();
    this.#checkers = new Set();
    this.#asked.clear();
    this.#wallOffset = this.#clock.wallOffset();
    const client = createClient({ url: this.#url, socket: { reconnectStrategy: false } });
    client.on("error", () => this.#lost(client));
    await client.connect();
    await client.monitor((line) => this.#heard(String(line)));
    this.#monitor = client;
  }

  /** Not so when the server has died, or has been given another role by a Sentinel, which ends all connections. */
  get isListening(): boolean {
    return this.#monitor !== undefined;
  }

  #lost(client: { destroy(): void }): void {
    if (this.#monitor !== client) return;
    this.#monitor = undefined;
    this.add({ kind: "killed", sid: "", at: this.#clock.now() });
  }

  /** Whose connection it is: `node-2`, `node-2:subscriber`, or the checker's. */
  introduced(address: string, name: string): void {
    const index = /^node-(\d+)$/.exec(name)?.[1];
    if (index !== undefined) this.#nodes.set(address, Number(index));
    else this.#nodes.delete(address);
    if (name === "checker") this.#checkers.add(address);
  }

  /** Which sessions to record. */
  follow(sids: readonly string[]): void {
    this.#sids = new Set(sids);
  }

  add(event: ServerEvent): void {
    this.events.push(event);
  }

  /** Asks for a session so that the answer is known to belong to that place of the record where the question is. */
  async snapshot(sid: string, ask: () => Promise<string | null>): Promise<void> {
    const answer: { text: string | null | undefined } = { text: undefined };
    this.#asked.set(sid, [...(this.#asked.get(sid) ?? []), answer]);
    try {
      answer.text = await ask();
    } catch {
      // It is no replica of this session's, or is gone.
      this.#asked.set(sid, this.#asked.get(sid)?.filter((other) => other !== answer) ?? []);
    }
  }

  /** Resolves when all that was carried out before has been heard. */
  async caughtUp(run: (...args: string[]) => Promise<unknown>): Promise<void> {
    const mark = `mark-${Math.random()}`;
    while (this.#echoed !== mark) {
      // What was sent while nobody listened is not heard.
      await run("ECHO", mark).catch(() => {});
      await pause(20);
    }
  }

  /** How long ago a session last changed here. */
  get quietMs(): number {
    return this.#clock.now() - this.#lastChange;
  }

  close(): void {
    this.#monitor?.destroy();
    this.#monitor = undefined;
  }

  #heard(line: string): void {
    const [head, time, source = "", command = ""] = LINE.exec(line) ?? [];
    const name = command.toUpperCase();
    if (head === undefined || !WANTED.has(name)) return;
    const from = source === "lua" ? this.#scripter : source;
    if (name === "GET" && !this.#checkers.has(from)) return;
    const args = argumentsOf(line.slice(head.length));
    const at = Number(time) * 1000 + this.#wallOffset;
    const isReplicated = this.#serverPorts.has(Number(from.slice(from.lastIndexOf(":") + 1)));
    const origin = { at, isReplicated, node: this.#nodes.get(from) };
    const [key = "", text = "", ...rest] = args;
    const sid = key.slice(this.#prefix.length);
    if (name === "HELLO" || name === "CLIENT") {
      const at = args.findIndex((arg) => arg.toUpperCase() === "SETNAME");
      if (at >= 0) this.introduced(from, args[at + 1] ?? "");
    } else if (name === "EVAL" || name === "EVALSHA") this.#scripter = from;
    else if (name === "ECHO") this.#echoed = key;
    else if (name === "GET") {
      const answer = this.#asked.get(sid)?.shift();
      if (answer !== undefined) this.add({ kind: "held", sid, answer, ...origin });
    } else if (name === "GETRANGE") {
      if (this.#sids.has(sid)) this.add({ kind: "read", sid, ...origin });
    } else if (name === "SET") {
      this.#change({ kind: "set", sid, text, mustExist: rest.includes("XX"), ...origin });
    } else if (name === "DEL" || name === "UNLINK") {
      for (const one of args) this.#change({ kind: "del", sid: one.slice(this.#prefix.length), ...origin });
    } else if (name === "MIGRATE") {
      const keys = args.slice(args.indexOf("KEYS") + 1);
      for (const one of keys) this.#change({ kind: "left", sid: one.slice(this.#prefix.length), ...origin });
    } else this.#change({ kind: "arrived", sid, ...origin });
  }

  #change(event: ServerEvent): void {
    // With Sentinel, heartbeats delete a key that is never there.
    if (!this.#sids.has(event.sid)) return;
    this.events.push(event);
    this.#lastChange = this.#clock.now();
  }
}
