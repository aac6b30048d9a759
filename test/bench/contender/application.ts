import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import express, { type RequestHandler } from "express";

/** A plain express application in the contender's process: GET / reads the session, GET /write changes it. */
export class Application {
  readonly #server: Server;
  #delay: IntervalHistogram | undefined;
  #cpu: NodeJS.CpuUsage | undefined;
  #since = 0;

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
    this.#cpu = process.cpuUsage();
    this.#since = performance.now();
  }

  /**
   * @returns the 99th percentile of how much later than they should the 1 ms ticks came, in ms, and the CPU of the process as a
   * part of one core
   */
  stopWatching(): { readonly delayMs: number; readonly cores: number } {
    const delay = this.#delay;
    delay?.disable();
    const { user, system } = process.cpuUsage(this.#cpu);
    const cores = (user + system) / 1000 / (performance.now() - this.#since);
    return { delayMs: (delay?.percentile(99) ?? Number.NaN) / 1e6, cores };
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
