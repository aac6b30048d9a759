import { setTimeout as sleep } from "node:timers/promises";
import { Visitor } from "../visitor.ts";

const NAMES = ["bea", "cyd", "dov", "eva", "fin"] as const;
const THEMES = ["amber", "teal", "violet", "rose", "sky"] as const;
/** Between two requests of one visitor. */
const PAUSE_MS = 250;
const SHARE_OF_CHANGES = 0.05;
const SHARE_OF_LOGOUTS = 0.015;

/** Visitors who mostly look, sometimes change something, and now and then log out; the proxy sends them to any node. */
export class Traffic {
  #stopping: AbortController | undefined;
  #visits: Promise<unknown> = Promise.resolve();

  get isOn(): boolean {
    return this.#stopping !== undefined;
  }

  start(origin: string): void {
    if (this.isOn) return;
    const stopping = new AbortController();
    this.#stopping = stopping;
    this.#visits = Promise.all(
      NAMES.map((name) => visit(new Visitor(origin, "traffic", "made up"), name, stopping.signal)),
    );
  }

  /** Resolves when the last request is answered: none is counted after that. */
  async stop(): Promise<void> {
    this.#stopping?.abort();
    await this.#visits;
    this.#stopping = undefined;
  }
}

async function visit(visitor: Visitor, name: string, stopping: AbortSignal): Promise<void> {
  let isLoggedIn = false;
  while (!stopping.aborted) {
    // A node may be killed at any moment, and its answer with it; to the next request there is another.
    const seen = await visitor.request(...next(isLoggedIn, name), undefined).then(
      (answer) => answer.seen,
      () => "",
    );
    if (seen.startsWith(name)) isLoggedIn = true;
    else if (seen === "nobody") isLoggedIn = false;
    const pause = { ref: false, signal: stopping };
    await sleep(PAUSE_MS * (0.5 + Math.random()), undefined, pause).catch(() => {});
  }
}

function next(isLoggedIn: boolean, name: string): [method: string, path: string] {
  if (!isLoggedIn) return ["POST", `/login?user=${name}`];
  const chance = Math.random();
  if (chance < SHARE_OF_LOGOUTS) return ["POST", "/logout"];
  if (chance < SHARE_OF_LOGOUTS + SHARE_OF_CHANGES) {
    return ["POST", `/theme?name=${THEMES[Math.floor(Math.random() * THEMES.length)]}`];
  }
  return ["GET", "/me"];
}
