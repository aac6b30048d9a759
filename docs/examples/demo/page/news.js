// @ts-check
/** @import { PageEvents } from "../live/news.ts" */

const RETRY_MS = 2_000;

/** @type {string | undefined} */
let run;

/**
 * Hears what the demo tells all its pages, from now on and whatever happens to the connection.
 * @param {{ [Name in keyof PageEvents]?: (data: PageEvents[Name]) => void }} listeners
 */
export function listen(listeners) {
  const events = new EventSource("page/events");
  events.onopen = () => showLink("open", "connected");
  events.onerror = () => {
    showLink("lost", "The demo does not answer; trying again…");
    // An answer that is no stream ends an EventSource for good.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS, listeners);
  };
  events.addEventListener("hello", ({ data }) => {
    const hello = /** @type {PageEvents["hello"]} */ (JSON.parse(data));
    // Another demo, perhaps with another page.
    if (run !== undefined && run !== hello.run) location.reload();
    run = hello.run;
  });
  for (const [name, listener] of Object.entries(listeners)) {
    const receive = /** @type {(data: unknown) => void} */ (listener);
    events.addEventListener(name, ({ data }) => receive(JSON.parse(data)));
  }
}

/**
 * @param {"open" | "lost"} how
 * @param {string} text
 */
function showLink(how, text) {
  const link = /** @type {HTMLElement} */ (document.querySelector("#link"));
  link.dataset["state"] = how;
  link.textContent = text;
}
