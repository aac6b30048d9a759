// @ts-check
/** @import { LogLine, PageState } from "../live/news.ts" */

import { newCard, showFailure, showNode } from "./cards.js";
import { fly } from "./flights.js";
import { listen } from "./news.js";
import { completeStep } from "./steps.js";

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
/**
 * Settles when this browser has the cookie that its last login or logout sets. The stream of events may tell of a login
 * before that, and a request sent then would be nobody's.
 * @type {Promise<unknown>}
 */
let cookieSet = Promise.resolve();

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

// It scrolls, also by keyboard.
byId("log").tabIndex = 0;
byId("traffic").addEventListener("click", () => order(`traffic/${state?.hasTraffic ? "stop" : "start"}`));
byId("reset").addEventListener("click", () => order("totals/reset"));
byId("pause").addEventListener("click", async () => {
  const isStopping = !state?.redis.isPaused;
  if ((await order(`redis/${isStopping ? "pause" : "resume"}`)) && isStopping) completeStep("stop");
});
byId("nodes").addEventListener("click", ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const card = target.closest("article");
  const [number] = [...cards].find(([, each]) => each === card) ?? [];
  if (number === undefined) return;
  const { request: what, order: command } = target.dataset;
  if (what !== undefined) void request(number, what);
  else void orderNode(number, command);
});

/** The steps of the tour that are a request, by the node that it goes to. */
const STEPS = /** @type {Record<string, string>} */ ({ login: "1", read: "2", logout: "3" });

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
    const sent = cookieSet.then(() => fetch(path, { method, headers: { "x-demo-node": String(node) } }));
    if (what === "login" || what === "logout") cookieSet = sent.catch(() => {});
    const response = await sent;
    const text = await response.text();
    mine = response.headers.get("x-demo-digest") ?? mine;
    if (response.ok && STEPS[what] === String(node)) completeStep(what);
    // Any other failure the node reports itself.
    if (response.status === 502) fail(node, `${method} ${path}: ${text.trim()}`);
  } catch (error) {
    fail(node, `${method} ${path}: ${error}`);
  }
}

/**
 * @param {number} node
 * @param {string | undefined} command
 */
async function orderNode(node, command) {
  if ((await order(`nodes/${node}/${command}`)) && command === "cut") completeStep("cut");
}

/**
 * @param {string} path
 * @returns {Promise<boolean>} whether it was carried out
 */
async function order(path) {
  try {
    const response = await fetch(`page/${path}`, { method: "POST" });
    if (response.status === 409) showText(await response.text(), "warn");
    return response.ok;
  } catch (error) {
    showText(`${error}`, "bad");
    return false;
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
  showTotals(now.totals);
  const traffic = byId("traffic");
  traffic.dataset["on"] = String(now.hasTraffic);
  traffic.textContent = now.hasTraffic ? "Stop traffic" : "Send traffic";
}

/** @param {PageState["redis"]} redis */
function showRedis({ version, isPaused, unpausable }) {
  byId("redis").classList.toggle("paused", isPaused);
  byId("version").textContent = version.replace(/^./, (letter) => letter.toUpperCase());
  const pause = /** @type {HTMLButtonElement} */ (byId("pause"));
  pause.textContent = isPaused ? "Resume Redis" : "Stop Redis";
  pause.disabled = unpausable !== null;
  byId("redis-note").textContent = isPaused
    ? "stopped: it accepts connections and answers nothing"
    : unpausable;
}

/** @param {PageState["totals"]} totals */
function showTotals({ requests, saved, commands, connectRedis, background }) {
  const figures = { saved, requests, there: connectRedis, here: commands, background };
  for (const [id, figure] of Object.entries(figures)) byId(id).textContent = figure.toLocaleString("en");
  const most = Math.max(commands, connectRedis, 1);
  for (const [id, figure] of Object.entries({ there: connectRedis, here: commands })) {
    byId(`bar-${id}`).style.width = `${(100 * figure) / most}%`;
  }
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
  const lines = byId("lines");
  lines.prepend(line);
  if (lines.childElementCount > MOST_LINES) lines.lastElementChild?.remove();
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
