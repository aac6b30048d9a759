// @ts-check
/** @import { Devices, ListedDevice, MadeUpDevice, NodeAnswer } from "../live/device-views.ts" */
/** @import { PageState } from "../live/news.ts" */

import { listen } from "./news.js";
import { rowsOf, showRows } from "./rows.js";

/** Whoever opens this page first. */
const FIRST_USER = "ada";
/** What this page asks by itself is neither shown nor counted on the other one. */
const LOOK = { "x-demo-visitor": "look" };
/** Several nodes receive one write, and each reports it. */
const SOON_MS = 50;

/**
 * Who this browser is, or was.
 * @type {string | undefined}
 */
let user;
/**
 * The devices as they were last listed.
 * @type {readonly ListedDevice[]}
 */
let listed = [];
/**
 * This browser's own, logged in or not any more.
 * @type {ListedDevice | undefined}
 */
let own;
/** @type {readonly number[]} */
let nodes = [];
let condition = "";
let isLooking = false;
let isDue = false;

listen({
  state: (state) => {
    nodes = state.nodes.map(({ number }) => number);
    const now = conditionOf(state);
    if (now !== condition) lookSoon();
    condition = now;
  },
  flight: ({ kind }) => {
    if (kind === "write" || kind === "received") lookSoon();
  },
});

byId("log-in").addEventListener("click", () => act(`login?user=${encodeURIComponent(user ?? FIRST_USER)}`));
byId("another").addEventListener("click", () =>
  act(`page/devices/log-in?user=${encodeURIComponent(user ?? "")}`),
);
byId("others").addEventListener("click", () => act("logout-others"));
byId("everywhere").addEventListener("click", () => act("logout-everywhere"));
byId("devices").addEventListener("click", ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  const digest = target.closest("li")?.dataset["digest"];
  const device = listed.find((each) => each.digest === digest)?.publicId;
  void act(digest === own?.digest ? "logout" : `logout-device?device=${device}`);
});

/**
 * What the answers of the nodes may depend on, besides what they write and receive.
 * @param {PageState} state
 */
function conditionOf({ redis, nodes: views }) {
  return JSON.stringify([redis.isPaused, views.map(({ status, snapshot }) => [status, snapshot?.state])]);
}

function lookSoon() {
  if (isDue) return;
  isDue = true;
  setTimeout(() => {
    isDue = false;
    // What has come too late for the look that is under way is seen by the next.
    if (isLooking) lookSoon();
    else void look();
  }, SOON_MS);
}

/** Lists the devices, and asks each node what it says to each of them. */
async function look() {
  isLooking = true;
  try {
    const isListed = await list();
    const asked = user ?? "";
    const [madeUp, ownAnswers] = await Promise.all([madeUpDevices(asked), Promise.all(nodes.map(answerOf))]);
    const rows = rowsOf(listed, madeUp, own, ownAnswers);
    showRows(byId("devices"), rows, listed.length > 0);
    showHead(rows.filter(({ isIn }) => isIn).length, isListed);
  } catch {
    // The demo is gone; what becomes of the stream of events tells of it.
  } finally {
    isLooking = false;
  }
}

/** @returns {Promise<boolean>} false when no node could: then the former list stands */
async function list() {
  const response = await fetch("devices", { headers: LOOK });
  if (!response.ok && response.status !== 401) return false;
  const found = /** @type {Devices} */ (await response.json());
  listed = found.devices;
  if (found.user !== null && found.user !== user) own = undefined;
  user = found.user ?? user;
  own = listed.find(({ isThis }) => isThis) ?? own;
  return true;
}

/**
 * @param {string} whose
 * @returns {Promise<readonly MadeUpDevice[]>}
 */
async function madeUpDevices(whose) {
  return (await fetch(`page/devices?user=${encodeURIComponent(whose)}`)).json();
}

/**
 * What a node says to this browser's own cookie.
 * @param {number} node
 * @returns {Promise<NodeAnswer>}
 */
async function answerOf(node) {
  const { status } = await fetch("me", { headers: { ...LOOK, "x-demo-node": String(node) } });
  return { node, says: status === 200 ? "logged in" : status === 401 ? "logged out" : "no answer" };
}

/**
 * @param {number} count
 * @param {boolean} isListed
 */
function showHead(count, isListed) {
  const isIn = listed.length > 0;
  byId("user").textContent =
    isIn || user === undefined ? (user ?? "Nobody is logged in") : `${user}, logged out here`;
  const devices = count === 1 ? "1 device is" : `${count || "No"} devices are`;
  const how = isListed ? "" : ", as far as is known: the list cannot be read now";
  byId("count").textContent =
    user === undefined
      ? "Log in here, then from other devices: each has a cookie of its own."
      : `${devices} logged in${how}`;
  byId("log-in").textContent = `Log in as ${user ?? FIRST_USER}`;
  byId("log-in").hidden = isIn;
  for (const id of ["another", "others", "everywhere"]) byId(id).hidden = user === undefined;
  button("others").disabled = !isIn || count < 2;
  button("everywhere").disabled = !isIn;
}

/**
 * Does what a button is for. What comes of it, the nodes tell.
 * @param {string} path
 */
async function act(path) {
  const said = byId("said");
  try {
    const response = await fetch(path, { method: "POST" });
    const text = await response.text();
    said.dataset["tone"] = response.ok ? "plain" : "bad";
    said.textContent = response.ok ? outcomeOf(response, text) : text.trim();
  } catch (error) {
    said.dataset["tone"] = "bad";
    said.textContent = `${error}`;
  }
  lookSoon();
}

/**
 * @param {Response} response
 * @param {string} text
 */
function outcomeOf({ headers }, text) {
  const node = headers.get("x-demo-node");
  const { ended } = text === "" ? {} : JSON.parse(text);
  if (node === null || ended === undefined) return "";
  const work = `${headers.get("x-demo-redis-commands")} Redis commands`;
  return `Node ${node} logged out ${ended === 1 ? "1 device" : `${ended} devices`} and published that: ${work}.`;
}

/** @param {string} id */
function button(id) {
  return /** @type {HTMLButtonElement} */ (byId(id));
}

/** @param {string} id */
function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}
