import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import express, { type RequestHandler } from "express";

/** A plain express application in the contender's process: GET / reads the session, GET /write changes it. */
export class Application {
  readonly #server: Server;
  #delay: IntervalHistogram | undefined;

  constructor(middleware: RequestHandler) {
    const app = express();
    app.disable("x-powered-by");
    app.use(middleware);
    app.get("/", (req, res) => void res.send(String(req.session.views)));
    app.get("/write", (req, res) => {
      req.session.views = (req.session.views ?? 0) + 1;
      res.send(String(req.session.views));
    });
    this.#server = createServer(app);
  }

  listen(): Promise<number> {
    return new Promise((resolve) => {
      this.#server.listen(0, "127.0.0.1", () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  startWatching(): void {
    this.#delay = monitorEventLoopDelay({ resolution: 1 });
    this.#delay.enable();
  }

  /** The 99th percentile of how much later than they should the 1 ms ticks came, in ms. */
  stopWatching(): number {
    const delay = this.#delay;
    delay?.disable();
    return (delay?.percentile(99) ?? Number.NaN) / 1e6;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
