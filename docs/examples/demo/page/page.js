// @ts-check
/** @import { LogLine, PageState } from "../live/news.ts" */

import { newCard, showFailure, showNode } from "./cards.js";
import { fly } from "./flights.js";
import { listen } from "./news.js";

const USERS = ["ada", "grace", "alan", "edsger", "barbara", "linus"];
const THEMES = ["amber", "teal", "violet", "rose", "sky"];
const MOST_LINES = 60;

/** @type {Map<number, HTMLElement>} */
const cards = new Map();
/** @type {PageState | undefined} */
let state;
/** The digest of this browser's session, as far as this page knows. */
let mine = "";
let lastLine = 0;
let turn = 0;

listen({
  hello: ({ log: lines }) => {
    const log = byId("log");
    log.ariaBusy = "true";
    for (const line of lines) showLine(line);
    log.ariaBusy = "false";
  },
  state: showState,
  log: showLine,
  flight: (flight) => fly(flight, cards),
});

byId("traffic").addEventListener("click", () => order(`traffic/${state?.hasTraffic ? "stop" : "start"}`));
byId("count-anew").addEventListener("click", () => order("commands/count-anew"));
byId("pause").addEventListener("click", () => order(`redis/${state?.redis.isPaused ? "resume" : "pause"}`));
byId("nodes").addEventListener("click", ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const card = target.closest("article");
  const [number] = [...cards].find(([, each]) => each === card) ?? [];
  if (number === undefined) return;
  const { request: what, order: command } = target.dataset;
  if (what !== undefined) void request(number, what);
  else void order(`nodes/${number}/${command}`);
});

/**
 * A request as any browser sends it, with this one's cookie, but to a node of one's choice.
 * @param {number} node
 * @param {string} what
 */
async function request(node, what) {
  const [method, path] = /** @type {Record<string, [string, string]>} */ ({
    login: ["POST", `/login?user=${USERS[turn % USERS.length]}`],
    read: ["GET", "/me"],
    change: ["POST", `/theme?name=${THEMES[turn % THEMES.length]}`],
    logout: ["POST", "/logout"],
  })[what] ?? ["GET", "/me"];
  if (method === "POST") turn++;
  try {
    const response = await fetch(path, { method, headers: { "x-demo-node": String(node) } });
    const text = await response.text();
    mine = response.headers.get("x-demo-digest") ?? mine;
    // Any other failure the node tells itself.
    if (response.status === 502) fail(node, `${method} ${path}: ${text.trim()}`);
  } catch (error) {
    fail(node, `${method} ${path}: ${error}`);
  }
}

/** @param {string} path */
async function order(path) {
  try {
    const response = await fetch(`page/${path}`, { method: "POST" });
    if (response.status === 409) showText(await response.text(), "warn");
  } catch (error) {
    showText(`${error}`, "bad");
  }
}

/** @param {PageState} now */
function showState(now) {
  state = now;
  for (const node of now.nodes) {
    const card = cards.get(node.number) ?? newCard(node.number);
    if (!cards.has(node.number)) byId("nodes").append(card);
    cards.set(node.number, card);
    showNode(card, node, mine);
  }
  showRedis(now.redis);
  showCommands(now.commands);
  const traffic = byId("traffic");
  traffic.ariaPressed = String(now.hasTraffic);
  traffic.textContent = now.hasTraffic ? "Stop traffic" : "Send traffic";
}

/** @param {PageState["redis"]} redis */
function showRedis({ version, isPaused, unpausable }) {
  byId("redis").classList.toggle("paused", isPaused);
  byId("version").textContent = version.replace(/^./, (letter) => letter.toUpperCase());
  const pause = /** @type {HTMLButtonElement} */ (byId("pause"));
  pause.textContent = isPaused ? "Resume Redis" : "Pause Redis";
  pause.disabled = unpausable !== null;
  byId("redis-note").textContent = isPaused ? "paused: takes everything, answers nothing" : unpausable;
}

/** @param {PageState["commands"]} commands */
function showCommands({ requests, background, connectRedis }) {
  const here = requests + background;
  const most = Math.max(here, connectRedis, 1);
  const figures = { saved: connectRedis - here, there: connectRedis, here, requests, background };
  for (const [id, figure] of Object.entries(figures)) byId(id).textContent = figure.toLocaleString("en");
  const widths = { there: connectRedis, requests, background };
  for (const [id, figure] of Object.entries(widths))
    byId(`bar-${id}`).style.width = `${(100 * figure) / most}%`;
}

/** @param {LogLine} line */
function showLine({ id, at, node, tone, text }) {
  // After the stream was lost, the first of the new one is what has been shown already.
  if (id <= lastLine) return;
  lastLine = id;
  showText(text, tone, node, at);
}

/**
 * @param {string} text
 * @param {LogLine["tone"]} tone
 * @param {number} [node]
 * @param {number} [at]
 */
function showText(text, tone, node, at = Date.now()) {
  const line = document.createElement("li");
  line.dataset["tone"] = tone;
  const time = document.createElement("time");
  time.textContent = new Date(at).toLocaleTimeString("en-GB");
  const who = document.createElement("span");
  who.className = "who";
  who.textContent = node === undefined ? "" : `node ${node}`;
  const what = document.createElement("span");
  what.className = "what";
  what.textContent = text;
  line.append(time, " ", who, " ", what);
  const log = byId("log");
  log.prepend(line);
  if (log.childElementCount > MOST_LINES) log.lastElementChild?.remove();
}

/**
 * A node has not answered, and so cannot tell either.
 * @param {number} node
 * @param {string} text
 */
function fail(node, text) {
  const card = cards.get(node);
  if (card !== undefined) showFailure(card, text);
  showText(text, "bad", node);
}

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
