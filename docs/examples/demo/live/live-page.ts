import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RedisServer } from "../../../../test/support/redis-server.ts";
import type { ClusterNode } from "../cluster-node.ts";
import { type Aside, answer } from "../proxy.ts";
import { Controls, Refusal } from "./controls.ts";
import { Hub } from "./hub.ts";

const FOLDER = new URL("../page/", import.meta.url);
const FILES: Readonly<Record<string, string>> = {
  "index.html": "text/html; charset=utf-8",
  "style.css": "text/css; charset=utf-8",
  "nodes.css": "text/css; charset=utf-8",
  "flights.css": "text/css; charset=utf-8",
  "icon.svg": "image/svg+xml",
  "account.html": "text/html; charset=utf-8",
  "account.css": "text/css; charset=utf-8",
  "page.js": "text/javascript; charset=utf-8",
  "cards.js": "text/javascript; charset=utf-8",
  "flights.js": "text/javascript; charset=utf-8",
  "news.js": "text/javascript; charset=utf-8",
  "account.js": "text/javascript; charset=utf-8",
  "devices.js": "text/javascript; charset=utf-8",
  "rows.js": "text/javascript; charset=utf-8",
};

/**
 * The page at `/`: its files, its stream of events, and its buttons.
 *
 * A web page from elsewhere must not kill processes here. So only what was asked for by an address of this machine is
 * answered, which no foreign name can pretend to be, and no order is taken that a foreign page makes the browser send.
 */
export class LivePage {
  readonly #nodes: readonly ClusterNode[];
  readonly #controls: Controls;
  readonly #hub: Hub;

  constructor(nodes: readonly ClusterNode[], redis: RedisServer) {
    this.#nodes = nodes;
    this.#controls = new Controls(redis);
    this.#hub = new Hub(nodes, () => this.#controls.surroundings);
  }

  readonly answer: Aside = (req, res) => {
    const { pathname } = new URL(req.url ?? "/", "http://localhost");
    const [first, ...path] = pathname === "/" ? ["page", "index.html"] : pathname.slice(1).split("/");
    if (first !== "page") return false;
    if (!isFromHere(req)) answer(res, 403, "The page is for this machine only: open it as http://127.0.0.1");
    else if (req.method === "POST") void this.#obey(path, req, res);
    else if (path[0] === "events") this.#hub.join(res);
    else void sendFile(path.join("/"), res);
    return true;
  };

  async close(): Promise<void> {
    this.#hub.close();
    await this.#controls.close();
  }

  async #obey(path: readonly string[], req: IncomingMessage, res: ServerResponse): Promise<void> {
    try {
      await this.#order(path, `http://127.0.0.1:${req.socket.localPort}`);
      res.writeHead(204).end();
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof Refusal) return answer(res, 409, message);
      this.#hub.say(message, "bad");
      answer(res, 500, message);
    }
  }

  async #order([whom, ...rest]: readonly string[], origin: string): Promise<void> {
    const hub = this.#hub;
    if (whom === "commands" && rest[0] === "count-anew") return hub.countAnew();
    if (whom === "redis") return this.#controls.ofRedis(rest[0], hub);
    if (whom === "traffic") return this.#controls.ofTraffic(rest[0], hub, origin);
    const node = this.#nodes.find(({ number }) => whom === "nodes" && String(number) === rest[0]);
    if (node === undefined) throw new Refusal("There is no such button.");
    await this.#controls.ofNode(node, rest[1], hub);
  }
}

function isFromHere({ headers: { host = "", origin } }: IncomingMessage): boolean {
  const isThisMachine = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host);
  return isThisMachine && (origin === undefined || origin === `http://${host}`);
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
