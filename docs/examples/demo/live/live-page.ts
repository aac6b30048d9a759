import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RedisServer } from "../../../../test/support/redis-server.ts";
import type { ClusterNode } from "../cluster-node.ts";
import { type Aside, answer } from "../proxy.ts";
import { Controls, Refusal } from "./controls.ts";
import type { MadeUpDevice } from "./device-views.ts";
import { Hub } from "./hub.ts";
import { MadeUpDevices } from "./made-up-devices.ts";

const FOLDER = new URL("../page/", import.meta.url);
/** The pages proper; all that belongs to them is under `/page/`. */
const PAGES: Readonly<Record<string, string>> = { "/": "index.html", "/account": "account.html" };
const FILES: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "style.css": "text/css; charset=utf-8",
  "saved.css": "text/css; charset=utf-8",
  "nodes.css": "text/css; charset=utf-8",
  "flights.css": "text/css; charset=utf-8",
  "steps.css": "text/css; charset=utf-8",
  "log.css": "text/css; charset=utf-8",
  "icon.svg": "image/svg+xml",
  "account.html": "text/html; charset=utf-8",
  "account.css": "text/css; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "cards.js": "text/javascript; charset=utf-8",
  "flights.js": "text/javascript; charset=utf-8",
  "news.js": "text/javascript; charset=utf-8",
  "steps.js": "text/javascript; charset=utf-8",
  "account.js": "text/javascript; charset=utf-8",
  "rows.js": "text/javascript; charset=utf-8",
};

/**
 * The pages at `/` and `/account`: their files, their stream of events, and their buttons. The proxy has verified that a
 * request comes from one of these pages.
 */
export class LivePage {
  readonly #nodes: readonly ClusterNode[];
  readonly #controls: Controls;
  readonly #hub: Hub;
  readonly #devices: MadeUpDevices;

  constructor(nodes: readonly ClusterNode[], redis: RedisServer) {
    this.#nodes = nodes;
    this.#controls = new Controls(redis);
    this.#hub = new Hub(nodes, () => this.#controls.surroundings);
    this.#devices = new MadeUpDevices(nodes);
  }

  readonly answer: Aside = (req, res, { pathname, searchParams }) => {
    const name = Object.hasOwn(PAGES, pathname) ? `/page/${PAGES[pathname]}` : pathname;
    const [first, ...path] = name.slice(1).split("/");
    if (first !== "page") return false;
    const user = searchParams.get("user") ?? "";
    if (req.method === "POST") void this.#obey(path, user, req, res);
    else if (path[0] === "devices") void this.#tellDevices(user, res);
    else if (path[0] === "events") this.#hub.join(res);
    else void sendFile(path.join("/"), res);
    return true;
  };

  /** Counts from zero: what has been sent until now was the script's. */
  reset(): void {
    this.#hub.reset();
  }

  async close(): Promise<void> {
    this.#hub.close();
    await this.#controls.close();
  }

  async #obey(
    path: readonly string[],
    user: string,
    req: IncomingMessage,
    res: ServerResponse,
  ): Promise<void> {
    try {
      await this.#order(path, user, `http://127.0.0.1:${req.socket.localPort}`);
      res.writeHead(204).end();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof Refusal) return answer(res, 409, message);
      this.#hub.say(message, "bad");
      answer(res, 500, message);
    }
  }

  async #order([whom, ...rest]: readonly string[], user: string, origin: string): Promise<void> {
    const hub = this.#hub;
    if (whom === "devices" && rest[0] === "log-in") return this.#logIn(user, origin);
    if (whom === "totals" && rest[0] === "reset") return hub.reset();
    if (whom === "redis") return this.#controls.ofRedis(rest[0], hub);
    if (whom === "traffic") return this.#controls.ofTraffic(rest[0], hub, origin);
    const node = this.#nodes.find(({ number }) => whom === "nodes" && String(number) === rest[0]);
    if (node === undefined) throw new Refusal("There is no such button.");
    await this.#controls.ofNode(node, rest[1], hub);
  }

  async #logIn(user: string, origin: string): Promise<void> {
    const { name, node } = await this.#devices.logIn(origin, user);
    this.#hub.say(`${user} logs in from another device, ${name}`, "plain", node);
  }

  async #tellDevices(user: string, res: ServerResponse): Promise<void> {
    const devices: readonly MadeUpDevice[] = await this.#devices.of(user);
    res.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
    res.end(JSON.stringify(devices));
  }
}

async function sendFile(name: string, res: ServerResponse): Promise<void> {
  const type = Object.hasOwn(FILES, name) ? FILES[name] : undefined;
  if (type === undefined) return answer(res, 404, "There is no such file.");
  try {
    const content = await readFile(new URL(name, FOLDER));
    res.writeHead(200, {
      "content-type": type,
      "content-security-policy": "default-src 'self'",
      "cache-control": "no-store",
    });
    res.end(content);
  } catch (error) {
    answer(res, 500, String(error));
  }
}
