import { createConnection, createServer, type Server, type Socket } from "node:net";

/** Which way bytes flow. */
export type Direction = "toServer" | "toClient";

/** A TCP proxy that makes real connections fail for real. */
export interface FaultProxy {
  /** The target's URL with this proxy's address. */
  readonly url: string;
  readonly port: number;
  /** Connections that are open now. */
  readonly connections: number;
  /** Connections accepted since the start. */
  readonly accepted: number;
  /** Keeps bytes back, in order, until `release`. */
  hold(direction: Direction): void;
  release(direction: Direction): void;
  /** Lets bytes disappear: a half-open connection, until `pass`. */
  swallow(direction: Direction): void;
  /** Ends holding, swallowing, delaying and refusing; what was held flows on, what was swallowed is lost. */
  pass(): void;
  /** Lets each chunk arrive later; the order stays. */
  delay(direction: Direction, ms: number): void;
  /** Cuts all connections. */
  cut(): void;
  /** Cuts all connections, and every new one at once, until `accept`. */
  refuse(): void;
  accept(): void;
  /** Lets so many more bytes through, then cuts the connection that wants more. */
  cutAfter(direction: Direction, bytes: number): void;
  /** Resolves when bytes that contain `text` arrive here from now on, whatever becomes of them. */
  seen(direction: Direction, text: string): Promise<void>;
  close(): Promise<void>;
}

interface Waiting {
  readonly direction: Direction;
  readonly text: string;
  readonly resolve: () => void;
}

interface Lane {
  mode: "pass" | "hold" | "swallow";
  delayMs: number;
  /** Bytes that may still pass before the connection is cut. */
  budget: number;
}

class Pipe {
  readonly #held: Buffer[] = [];
  #delayed: Promise<void> = Promise.resolve();
  /** The last bytes seen, so that a text across two chunks is found. */
  #tail = "";

  readonly #lane: Lane;
  readonly #to: Socket;
  readonly #onSeen: (text: string) => void;
  readonly #cut: () => void;

  constructor(lane: Lane, from: Socket, to: Socket, onSeen: (text: string) => void, cut: () => void) {
    this.#lane = lane;
    this.#to = to;
    this.#onSeen = onSeen;
    this.#cut = cut;
    from.on("data", (chunk: Buffer) => this.#arrived(chunk));
  }

  flush(): void {
    for (const chunk of this.#held.splice(0)) this.#forward(chunk);
  }

  #arrived(chunk: Buffer): void {
    const text = this.#tail + chunk.toString("latin1");
    this.#tail = text.slice(-256);
    this.#onSeen(text);
    if (this.#lane.mode === "hold") this.#held.push(chunk);
    else if (this.#lane.mode === "pass") this.#forward(chunk);
  }

  #forward(chunk: Buffer): void {
    const { delayMs } = this.#lane;
    if (delayMs === 0) {
      this.#write(chunk);
      return;
    }
    const due = new Promise<void>((resolve) => setTimeout(resolve, delayMs));
    this.#delayed = this.#delayed.then(() => due).then(() => this.#write(chunk));
  }

  #write(chunk: Buffer): void {
    if (this.#to.destroyed) return;
    const allowed = chunk.subarray(0, this.#lane.budget);
    this.#lane.budget -= allowed.length;
    this.#to.write(allowed);
    if (allowed.length < chunk.length) this.#to.end(() => this.#cut());
  }
}

class TcpFaultProxy implements FaultProxy {
  readonly #target: URL;
  readonly #server: Server;
  readonly #lanes: Record<Direction, Lane> = { toServer: openLane(), toClient: openLane() };
  readonly #links = new Set<{ readonly pipes: Record<Direction, Pipe>; readonly cut: () => void }>();
  #waiting: Waiting[] = [];
  #refusing = false;
  #accepted = 0;

  constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer((client) => this.#link(client));
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

  hold(direction: Direction): void {
    this.#lanes[direction].mode = "hold";
  }

  release(direction: Direction): void {
    this.#lanes[direction].mode = "pass";
    for (const { pipes } of this.#links) pipes[direction].flush();
  }

  swallow(direction: Direction): void {
    this.#lanes[direction].mode = "swallow";
  }

  pass(): void {
    this.#refusing = false;
    for (const direction of ["toServer", "toClient"] as const) {
      Object.assign(this.#lanes[direction], openLane());
      this.release(direction);
    }
  }

  delay(direction: Direction, ms: number): void {
    this.#lanes[direction].delayMs = ms;
  }

  cut(): void {
    for (const { cut } of this.#links) cut();
  }

  refuse(): void {
    this.#refusing = true;
    this.cut();
  }

  accept(): void {
    this.#refusing = false;
  }

  cutAfter(direction: Direction, bytes: number): void {
    this.#lanes[direction].budget = bytes;
  }

  seen(direction: Direction, text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = () => reject(new Error(`Nothing with "${text}" came by ${direction} in 20 s`));
      const timer = setTimeout(late, 20_000);
      this.#waiting.push({
        direction,
        text,
        resolve: () => {
          clearTimeout(timer);
          resolve();
        },
      });
    });
  }

  close(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #link(client: Socket): void {
    this.#accepted++;
    client.on("error", () => {});
    if (this.#refusing) {
      client.destroy();
      return;
    }
    const server = createConnection({ host: this.#target.hostname, port: Number(this.#target.port || 6379) });
    server.on("error", () => {});
    client.setNoDelay(true);
    server.setNoDelay(true);
    const cut = () => {
      client.destroy();
      server.destroy();
      this.#links.delete(link);
    };
    const link = {
      cut,
      pipes: {
        toServer: new Pipe(this.#lanes.toServer, client, server, (text) => this.#saw("toServer", text), cut),
        toClient: new Pipe(this.#lanes.toClient, server, client, (text) => this.#saw("toClient", text), cut),
      },
    };
    client.on("close", cut);
    server.on("close", cut);
    this.#links.add(link);
  }

  #saw(direction: Direction, text: string): void {
    this.#waiting = this.#waiting.filter((waiting) => {
      if (waiting.direction !== direction || !text.includes(waiting.text)) return true;
      waiting.resolve();
      return false;
    });
  }
}

function openLane(): Lane {
  return { mode: "pass", delayMs: 0, budget: Number.POSITIVE_INFINITY };
}

/** A proxy before the Redis at `targetUrl`, on a free port of this machine. */
export function startProxy(targetUrl: string): Promise<FaultProxy> {
  return new TcpFaultProxy(targetUrl).listen();
}
