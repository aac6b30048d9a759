import { createConnection, createServer, type Server, type Socket } from "node:net";
import { type Direction, Lane, noFaults, type Rules } from "./fault-lane.ts";
import { Sightings } from "./sightings.ts";

export type { Direction } from "./fault-lane.ts";

/** A TCP proxy that makes real connections fail for real. */
export interface FaultProxy {
  /** The target's URL with this proxy's address. */
  readonly url: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Keeps bytes back, in order, until `release`. @param ifSent only on connections that send this text from now on, and from then */
  hold(direction: Direction, ifSent?: string): void;
  release(direction: Direction): void;
  /** Lets bytes disappear: a half-open connection, until `pass`. */
  swallow(direction: Direction): void;
  /** Lets the bytes of the connections that are open now disappear, for ever: half-open connections. New ones work. */
  halfOpen(): void;
  /** Ends holding, swallowing, delaying and refusing; what was held flows on, what was swallowed is lost. */
  pass(): void;
  /** Lets each chunk arrive later; the order stays. */
  delay(direction: Direction, ms: number): void;
  /** Cuts all connections. */
  cut(): void;
  /** Cuts all connections; new ones lead to another server, as after a change of a name's address. */
  leadTo(url: string): void;
  /** Leads only new connections there; those that are open stay where they are. */
  leadNewTo(url: string): void;
  /** Cuts all connections, and every new one at once, until `accept`. */
  refuse(): void;
  accept(): void;
  /** Lets so many more bytes through, then cuts the connection that the last of them went over. */
  cutAfter(direction: Direction, bytes: number): void;
  /** Cuts the connection that carries `text` directly before it, the `count`th time that it is to pass on any of them. */
  cutBefore(direction: Direction, text: string, count: number): void;
  /** Resolves when bytes that contain `text` arrive here from now on, whatever becomes of them. */
  seen(direction: Direction, text: string): Promise<void>;
  close(): Promise<void>;
}

/** How much later the bytes of a new connection arrive in one direction, in milliseconds. Faults come on top of it. */
export type ConnectionDelay = () => number;

/** A proxy before the Redis at `targetUrl`, on a free port of this machine. */
export function startProxy(
  targetUrl: string,
  connectionDelayMs: ConnectionDelay = () => 0,
): Promise<FaultProxy> {
  return new TcpFaultProxy(targetUrl, connectionDelayMs).listen();
}

const DIRECTIONS = ["toServer", "toClient"] as const;

type Link = Record<Direction, Lane> & { readonly cut: () => void };

class TcpFaultProxy implements FaultProxy {
  #target: URL;
  readonly #server: Server;
  readonly #rules: Record<Direction, Rules> = { toServer: noFaults(), toClient: noFaults() };
  readonly #links = new Set<Link>();
  readonly #sightings: Record<Direction, Sightings> = {
    toServer: new Sightings("to the server"),
    toClient: new Sightings("to the client"),
  };
  readonly #connectionDelayMs: ConnectionDelay;
  #isRefusing = false;
  #accepted = 0;

  constructor(target: string, connectionDelayMs: ConnectionDelay) {
    this.#connectionDelayMs = connectionDelayMs;
    this.#target = new URL(target);
    // Each side's end reaches the other as a piece of its lane, not by itself.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#link(client));
  }

  listen(): Promise<this> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(0, "127.0.0.1", () => resolve(this));
    });
  }

  get port(): number {
    const address = this.#server.address();
    return address !== null && typeof address === "object" ? address.port : 0;
  }

  get url(): string {
    const url = new URL(this.#target);
    url.hostname = "127.0.0.1";
    url.port = String(this.port);
    return url.href;
  }

  get connections(): number {
    return this.#links.size;
  }

  get accepted(): number {
    return this.#accepted;
  }

  hold(direction: Direction, ifSent?: string): void {
    if (ifSent === undefined) this.#rules[direction].mode = "hold";
    else this.#rules[direction].holdIfSent = ifSent;
  }

  release(direction: Direction): void {
    const rules = this.#rules[direction];
    rules.holdIfSent = undefined;
    if (rules.mode === "hold") rules.mode = "pass";
    for (const link of this.#links) link[direction].release();
  }

  leadTo(url: string): void {
    this.leadNewTo(url);
    this.cut();
  }

  leadNewTo(url: string): void {
    this.#target = new URL(url);
  }

  swallow(direction: Direction): void {
    this.#rules[direction].mode = "swallow";
  }

  halfOpen(): void {
    for (const link of this.#links) for (const direction of DIRECTIONS) link[direction].mute();
  }

  pass(): void {
    this.#isRefusing = false;
    for (const direction of DIRECTIONS) {
      Object.assign(this.#rules[direction], noFaults());
      for (const link of this.#links) link[direction].pass();
    }
  }

  delay(direction: Direction, ms: number): void {
    this.#rules[direction].delayMs = ms;
  }

  cut(): void {
    for (const { cut } of this.#links) cut();
  }

  refuse(): void {
    this.#isRefusing = true;
    this.cut();
  }

  accept(): void {
    this.#isRefusing = false;
  }

  cutAfter(direction: Direction, bytes: number): void {
    this.#rules[direction].budget = bytes;
  }

  cutBefore(direction: Direction, text: string, count: number): void {
    this.#rules[direction].cutBefore = { text, count };
  }

  seen(direction: Direction, text: string): Promise<void> {
    return this.#sightings[direction].next(text);
  }

  close(): Promise<void> {
    // A connection may still be waiting to be accepted.
    this.refuse();
    for (const direction of DIRECTIONS) this.#sightings[direction].giveUp();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #link(client: Socket): void {
    this.#accepted++;
    client.on("error", ignore);
    if (this.#isRefusing) {
      client.destroy();
      return;
    }
    const server = createConnection({
      host: this.#target.hostname.replace(/^\[|\]$/g, ""),
      port: Number(this.#target.port || 6379),
      allowHalfOpen: true,
      noDelay: true,
    });
    server.on("error", ignore);
    const cut = () => {
      client.destroy();
      server.destroy();
      this.#links.delete(link);
    };
    const lane = (direction: Direction, from: Socket, to: Socket) =>
      new Lane(
        this.#rules[direction],
        {
          from,
          to,
          onBytes: (lane, text) => {
            this.#sightings[direction].arrived(lane, text);
            if (direction === "toServer") this.#holdIfSent(link, text);
          },
          cut,
        },
        this.#connectionDelayMs(),
      );
    const link: Link = {
      cut,
      toServer: lane("toServer", client, server),
      toClient: lane("toClient", server, client),
    };
    client.on("close", cut);
    server.on("close", cut);
    this.#links.add(link);
  }

  #holdIfSent(link: Link, text: string): void {
    for (const direction of DIRECTIONS) {
      const { holdIfSent } = this.#rules[direction];
      if (holdIfSent !== undefined && text.includes(holdIfSent)) link[direction].hold();
    }
  }
}

/** An "error" is followed by a "close", which is dealt with. */
function ignore(): void {}
