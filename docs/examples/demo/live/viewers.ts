import type { ServerResponse } from "node:http";
import type { PageEvents } from "./news.ts";

const KEEP_ALIVE_MS = 15_000;
/** A viewer that is so far behind is not looking. It will come again by itself, and begin with what is so then. */
const MOST_UNREAD_BYTES = 1_000_000;

/** Those who look at the page, each over a stream of server-sent events. */
export class Viewers {
  readonly #streams = new Set<ServerResponse>();
  // What stands between the two may end a connection over which nothing goes.
  readonly #timer = setInterval(() => this.#write(": still here\n\n"), KEEP_ALIVE_MS).unref();

  get count(): number {
    return this.#streams.size;
  }

  add(res: ServerResponse, hello: PageEvents["hello"], state: PageEvents["state"]): void {
    res.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    res.write(`retry: 1000\n\n${event("hello", hello)}${event("state", state)}`);
    this.#streams.add(res);
    res.on("close", () => this.#streams.delete(res));
  }

  send<Name extends keyof PageEvents>(name: Name, data: PageEvents[Name]): void {
    if (this.#streams.size > 0) this.#write(event(name, data));
  }

  close(): void {
    clearInterval(this.#timer);
    for (const stream of this.#streams) stream.end();
  }

  #write(text: string): void {
    for (const stream of this.#streams) {
      if (stream.writableLength > MOST_UNREAD_BYTES) stream.destroy();
      else stream.write(text);
    }
  }
}

function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
