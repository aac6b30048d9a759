import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Proxy {
  readonly port: number;
  close(): void;
}

/** A node, as far as the proxy is concerned. */
export interface Upstream {
  readonly number: number;
  /** Undefined when it is not up. */
  readonly port: number | undefined;
}

/** Answers requests that are not for the nodes; returns whether this was one. */
export type Aside = (req: IncomingMessage, res: ServerResponse, url: URL) => boolean;

/**
 * A load balancer without sticky sessions: each request goes to the next node that is up, or to the one that its header
 * `x-demo-node` names. Only requests of the demo's own pages, and of programs on this machine, are answered.
 * @param preferredPort if it is taken, another is
 */
export async function startProxy(
  nodes: readonly Upstream[],
  preferredPort: number,
  aside: Aside = () => false,
): Promise<Proxy> {
  let turn = 0;
  const next = (hint: string | undefined): Upstream | undefined => {
    if (hint !== undefined) return nodes.find(({ number }) => String(number) === hint);
    const up = nodes.filter(({ port }) => port !== undefined);
    return up[turn++ % up.length];
  };
  const server = createServer((req, res) => {
    // Before anything of the request is parsed: any web page can make a browser send it.
    if (!isFromHere(req)) return answer(res, 403, "This is for this machine only: open http://127.0.0.1");
    const url = urlOf(req);
    if (url === undefined) return answer(res, 400, "The target of a request must be a path.");
    if (aside(req, res, url)) return;
    const hint = req.headers["x-demo-node"]?.toString();
    const node = next(hint);
    if (hint !== undefined && node === undefined) {
      answer(res, 400, `x-demo-node: there is no node ${hint}, but ${nodes.map((n) => n.number).join(", ")}`);
    } else if (node?.port === undefined) {
      answer(res, 502, node === undefined ? "no node is up" : `node ${node.number} is not up`);
    } else {
      forward(req, res, node.port);
    }
  });
  await listen(server, preferredPort);
  return {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/**
 * Whether a request is addressed to this machine by one of its own names, which no foreign name can resolve to
 * unnoticed, and comes from one of the demo's pages, or from a program. Browsers name the page in `Origin`.
 */
function isFromHere({ headers: { host = "", origin } }: IncomingMessage): boolean {
  const isThisMachine = /^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host);
  return isThisMachine && (origin === undefined || origin === `http://${host}`);
}

/** Not resolved against a base: `//` and `//host` would name another host, or none. */
function urlOf({ url = "" }: IncomingMessage): URL | undefined {
  const absolute = `http://localhost${url}`;
  return url.startsWith("/") && URL.canParse(absolute) ? new URL(absolute) : undefined;
}

function forward(req: IncomingMessage, res: ServerResponse, port: number): void {
  const { method, url: path, headers } = req;
  // A connection for each request, as one kept alive may be closed by the other side just when it is used again.
  const upstream = request({
    host: "127.0.0.1",
    port,
    method,
    path,
    headers: endToEnd(headers),
    agent: false,
  });
  upstream.on("response", (reply) => {
    res.writeHead(reply.statusCode ?? 502, endToEnd(reply.headers));
    reply.pipe(res);
    reply.on("error", () => res.destroy());
  });
  upstream.on("error", (error) => {
    if (res.headersSent) res.destroy();
    else answer(res, 502, error.message);
  });
  res.on("close", () => upstream.destroy());
  req.pipe(upstream);
}

/** The headers without those that are about the connection they came over. */
function endToEnd(headers: IncomingMessage["headers"]): IncomingMessage["headers"] {
  const { connection: _connection, "keep-alive": _keepAlive, ...others } = headers;
  return others;
}

export function answer(res: ServerResponse, status: number, message: string): void {
  res.writeHead(status, { "content-type": "text/plain; charset=utf-8" });
  res.end(`${message}\n`);
}

function listen(server: Server, preferredPort: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") server.listen(0, "127.0.0.1");
      else reject(error);
    });
    server.once("listening", resolve);
    server.listen(preferredPort, "127.0.0.1");
  });
}
