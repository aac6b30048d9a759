import { setTimeout as pause } from "node:timers/promises";
import { createClient } from "redis";
import type { Clock } from "./clock.ts";

/** Something that Redis carried out, and that may have changed what sessions there are. */
export interface RedisEvent {
  /**
   * "failover": another server took over, and this is what it holds, which is less than its predecessor held.
   * "killed": a server was, and its last words may not have been heard.
   * "outdated": a primary that another had replaced answered a read with this.
   */
  readonly kind: "set" | "del" | "expire" | "flush" | "restart" | "failover" | "killed" | "outdated";
  /** Empty when it concerns all. */
  readonly sid: string;
  /** Of a set: the value, and whether it needed the key to exist. */
  readonly text?: string;
  readonly mustExist?: boolean;
  /** Of a set and an expire: how long the key lives from then on, in milliseconds; undefined if that is not recorded. */
  readonly ttlMs?: number;
  /** Whose connection it came by; undefined for nobody's of the nodes. */
  readonly node: number | undefined;
  /** When, on the common clock, right to a few milliseconds. */
  readonly at: number;
  /** Of a failover or a restart: since when it was certain. */
  readonly seenAt?: number;
}

const LINE = /^(\d+\.\d+) \[\d+ ([^\]]+)\] "([A-Za-z]+)"/;
const WANTED = new Set(["SET", "DEL", "PEXPIRE", "FLUSHDB", "HELLO", "CLIENT", "ECHO", "EVAL", "EVALSHA"]);

/**
 * What Redis itself says (MONITOR) that it carried out, and in which order. It is the one witness that neither the store
 * nor the faults have any influence on: writes may overlap, time out and be carried out late, and there is no guessing.
 */
export class RedisRecord {
  readonly events: RedisEvent[] = [];
  readonly #url: string;
  readonly #prefix: string;
  readonly #clock: Clock;
  readonly #nodes = new Map<string, number>();
  #wallOffset: number;
  #monitor: { destroy(): void } | undefined;
  #ended: Promise<void> = Promise.resolve();
  /** Who has begun the last script: its commands come right after it. */
  #scripter = "";
  #lastChange = 0;
  #echoed = "";
  #sids: ReadonlySet<string> = new Set();

  constructor(url: string, prefix: string, clock: Clock) {
    this.#url = url;
    this.#prefix = prefix;
    this.#clock = clock;
    this.#wallOffset = clock.wallOffset();
  }

  /** Begins to listen; anew, after a restart of Redis, before any node is let in. */
  async listen(): Promise<void> {
    this.#monitor?.destroy();
    this.#nodes.clear();
    this.#wallOffset = this.#clock.wallOffset();
    const client = createClient({ url: this.#url, socket: { reconnectStrategy: false } });
    this.#ended = new Promise((resolve) => {
      client.on("error", () => resolve());
      client.on("end", () => resolve());
    });
    await client.connect();
    await client.monitor((line) => this.#heard(String(line)));
    this.#monitor = client;
  }

  /** Which sessions to record. */
  follow(sids: readonly string[]): void {
    this.#sids = new Set(sids);
  }

  /** Redis was killed at that time, and all that it held is gone. */
  async restarted(at: number): Promise<void> {
    // Its last words may still be on their way.
    await this.#ended;
    this.emptied(at, at);
  }

  /** All that Redis held is gone: it went between the two times. */
  emptied(at: number, seenAt: number): void {
    this.events.push({ kind: "restart", sid: "", node: undefined, at, seenAt });
  }

  /** Resolves when all that was carried out before has been heard. */
  async caughtUp(client: { sendCommand(args: string[]): Promise<unknown> }): Promise<void> {
    const mark = `mark-${Math.random()}`;
    await client.sendCommand(["ECHO", mark]);
    while (this.#echoed !== mark) await pause(2);
  }

  /** Resolves when no session has changed for so long. */
  async quiet(ms: number): Promise<void> {
    while (this.#clock.now() - this.#lastChange < ms) await pause(20);
  }

  close(): void {
    this.#monitor?.destroy();
  }

  #heard(line: string): void {
    const [head, time, source, command] = LINE.exec(line) ?? [];
    const name = command?.toUpperCase() ?? "";
    if (head === undefined || !WANTED.has(name)) return;
    const args = argumentsOf(line.slice(head.length));
    const at = Number(time) * 1000 + this.#wallOffset;
    const from = source === "lua" ? this.#scripter : (source as string);
    const origin = { node: this.#nodes.get(from), at };
    if (name === "HELLO" || name === "CLIENT") this.#introduced(from, name, args);
    else if (name === "EVAL" || name === "EVALSHA") this.#scripter = from;
    else if (name === "ECHO") this.#echoed = args[0] ?? "";
    else if (name === "FLUSHDB") this.#push({ kind: "flush", sid: "", ...origin });
    else if (name === "DEL") {
      for (const key of args) this.#push({ kind: "del", sid: this.#sidOf(key), ...origin });
    } else if (name === "PEXPIRE") {
      const [key = "", ttlMs] = args;
      this.#push({ kind: "expire", sid: this.#sidOf(key), ttlMs: Number(ttlMs), ...origin });
    } else {
      const [key = "", text = "", ...rest] = args;
      const px = rest.indexOf("PX");
      const ttl = px < 0 ? {} : { ttlMs: Number(rest[px + 1]) };
      this.#push({
        kind: "set",
        sid: this.#sidOf(key),
        text,
        mustExist: rest.includes("XX"),
        ...ttl,
        ...origin,
      });
    }
  }

  /** A node's connection tells its name when it is made: `node-2`, and `node-2:subscriber`. */
  #introduced(address: string, command: string, args: readonly string[]): void {
    const at = args.findIndex((arg) => arg.toUpperCase() === "SETNAME");
    // A connection is asked for its own address while it is in use.
    if (at < 0 && command === "CLIENT") return;
    const index = /^node-(\d+)$/.exec(args[at + 1] ?? "")?.[1];
    if (index !== undefined) this.#nodes.set(address, Number(index));
    else this.#nodes.delete(address);
  }

  #push(event: RedisEvent): void {
    // Heartbeats may delete a key that is never there.
    if (event.sid !== "" && !this.#sids.has(event.sid)) return;
    this.events.push(event);
    this.#lastChange = this.#clock.now();
  }

  #sidOf(key: string): string {
    return key.slice(this.#prefix.length);
  }
}

export function argumentsOf(line: string): string[] {
  // All that the checker writes is ASCII, and what MONITOR escapes of that, JSON escapes alike.
  return (line.match(/"(?:[^"\\]|\\.)*"/g) ?? []).map((quoted) => {
    try {
      return JSON.parse(quoted) as string;
    } catch {
      return quoted;
    }
  });
}
