// @ts-check
/** @import { CachedSession, NodeView, RequestNews } from "../live/news.ts" */

const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#node"));
const calm = matchMedia("(prefers-reduced-motion: reduce)");

/**
 * A card for a node; `showNode` fills it.
 * @param {number} number
 * @returns {HTMLElement}
 */
export function newCard(number) {
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const card = /** @type {HTMLElement} */ (copy.firstElementChild);
  card.dataset["node"] = String(number);
  const name = part(card, "name");
  name.id = `node-${number}`;
  name.textContent = `node ${number}`;
  card.setAttribute("aria-labelledby", name.id);
  for (const button of card.querySelectorAll("button")) nameButton(button, number);
  return card;
}

/** What a state means for the cache. */
const MEANINGS = /** @type {Record<string, string>} */ ({
  live: "Heartbeats return: the cache is in use.",
  suspect:
    "No heartbeat has returned for a lease, or the subscriber is disconnected: every read goes to Redis.",
  syncing: "The subscriber connects: every read goes to Redis until a heartbeat returns.",
  off: "The cache is off.",
  starting: "The process starts.",
  down: "There is no process.",
});

/**
 * A name that distinguishes it from the same button of other nodes, and begins as it reads.
 * @param {HTMLButtonElement} button
 * @param {number} number
 */
function nameButton(button, number) {
  const { request, order } = button.dataset;
  const preposition = request === undefined ? (order === "cut" ? " of" : "") : " on";
  button.ariaLabel = `${button.textContent}${preposition} node ${number}`;
}

/**
 * @param {HTMLElement} card
 * @param {NodeView} node
 * @param {string} mine the digest of this browser's session
 */
export function showNode(card, node, mine) {
  const { status, snapshot, isCut, uncuttable } = node;
  card.dataset["status"] = status;
  card.dataset["cut"] = String(isCut);
  const state = part(card, "state");
  state.textContent = snapshot?.state ?? status;
  state.dataset["state"] = snapshot?.state ?? status;
  state.title = MEANINGS[snapshot?.state ?? status] ?? "";
  showLease(card, node);
  for (const name of /** @type {const} */ (["hits", "misses", "published", "received"])) {
    part(card, name).textContent = snapshot === null ? "–" : snapshot[name].toLocaleString("en");
  }
  const { cached, cacheSize, cacheTtlMs } = snapshot ?? { cached: [], cacheSize: 0, cacheTtlMs: 0 };
  showCache(part(card, "cache"), cached, cacheTtlMs, mine);
  const hidden = cacheSize - cached.length;
  part(card, "more").textContent = hidden > 0 ? `and ${hidden.toLocaleString("en")} more` : "";
  showLast(part(card, "last"), node.last);

  const isUp = status === "up";
  for (const button of card.querySelectorAll("button")) button.disabled = !isUp;
  const cut = faultButton(card, 0, isCut ? ["join", "Reconnect"] : ["cut", "Cut subscriber"]);
  cut.disabled = !isUp || uncuttable !== null;
  const kill = faultButton(card, 1, status === "down" ? ["start", "Start"] : ["kill", "Kill"]);
  kill.disabled = status === "starting";
  part(card, "note").textContent = isUp ? uncuttable : "";
}

/**
 * Writes what a request that got no answer from the node came to.
 * @param {HTMLElement} card
 * @param {string} text
 */
export function showFailure(card, text) {
  const last = part(card, "last");
  last.dataset["read"] = "error";
  last.textContent = text;
}

/**
 * @param {HTMLElement} card
 * @param {NodeView} node
 */
function showLease(card, { snapshot }) {
  const { leaseMs, leaseAgeMs } = snapshot ?? { leaseMs: 0, leaseAgeMs: null };
  const left = leaseAgeMs === null ? 0 : Math.max(0, leaseMs - leaseAgeMs) / 1000;
  const lease = /** @type {HTMLMeterElement} */ (part(card, "lease"));
  lease.max = lease.optimum = leaseMs / 1000;
  lease.low = 0.6 * lease.max;
  lease.value = left;
  const says = snapshot === null ? "" : `lease ${left.toFixed(1)} of ${lease.max} s`;
  lease.title = "The cache may be used until the lease is over. Each heartbeat that returns renews it.";
  part(card, "left").textContent = says;
  const staleMs = snapshot?.staleIfErrorMs ?? 0;
  const stale = part(card, "stale");
  stale.textContent = staleMs > 0 ? `staleIfErrorMs ${staleMs / 1000} s` : "";
  stale.title =
    "While Redis does not answer, this node serves sessions as they were last verified, for so long at most.";
}

/**
 * @param {HTMLElement} list
 * @param {readonly CachedSession[]} sessions
 * @param {number} ttlMs
 * @param {string} mine
 */
function showCache(list, sessions, ttlMs, mine) {
  const wanted = new Map(sessions.map((session) => [String(session.entry), session]));
  const chips = /** @type {HTMLElement[]} */ ([...list.children]);
  for (const chip of chips) {
    // What is deleted here is wanted no more, so that what is left is new.
    if (!wanted.delete(chip.dataset["entry"] ?? "")) chip.remove();
    chip.classList.toggle("mine", chip.dataset["digest"] === mine);
  }
  for (const session of wanted.values()) list.append(newChip(session, ttlMs, mine));
}

/**
 * @param {CachedSession} session
 * @param {number} ttlMs
 * @param {string} mine
 */
function newChip({ entry, digest, user, theme, ageMs }, ttlMs, mine) {
  const chip = document.createElement("li");
  chip.className = digest === mine ? "chip mine" : "chip";
  chip.dataset["entry"] = String(entry);
  chip.dataset["digest"] = digest;
  chip.dataset["theme"] = theme ?? "";
  const id = document.createElement("span");
  id.className = "digest";
  id.textContent = digest;
  const left = document.createElement("i");
  left.className = "left";
  chip.append(user ?? "nobody", id, left);
  if (theme !== null) {
    // Its color shows the theme: two chips fit in a row.
    const name = document.createElement("span");
    name.className = "unseen";
    name.textContent = `, ${theme}`;
    chip.insertBefore(name, id);
    chip.title = `theme: ${theme}`;
  }
  const timing = { duration: ttlMs, delay: -ageMs, fill: /** @type {const} */ ("forwards") };
  left.animate([{ transform: "scaleX(1)" }, { transform: "scaleX(0)" }], timing);
  if (!calm.matches) chip.animate([{ opacity: 0, scale: 0.8 }, {}], { duration: 200, easing: "ease-out" });
  return chip;
}

/**
 * @param {HTMLElement} last
 * @param {RequestNews | null} request
 */
function showLast(last, request) {
  const shown = JSON.stringify(request);
  // What is older must not replace a failure that this browser has seen since.
  if (last.dataset["shown"] === shown) return;
  last.dataset["shown"] = shown;
  if (request === null) return last.replaceChildren();
  const { method, path, status, read, commands, ms, seen } = request;
  last.dataset["read"] = status >= 500 ? "error" : read;
  const how = document.createElement("b");
  how.textContent =
    status >= 500 ? `error ${status}: this needs Redis` : `${read === "none" ? "no cookie" : read}: ${seen}`;
  const work = commands === 1 ? "1 command" : `${commands} commands`;
  const detail = document.createElement("span");
  detail.className = "detail";
  detail.textContent = status >= 500 ? seen : `${work}, ${ms.toFixed(1)} ms`;
  // A long one is cut off, so that the buttons stay in place; the event log has it whole.
  detail.title = detail.textContent;
  last.replaceChildren(`${method} ${path}, `, how, detail);
}

/**
 * @param {HTMLElement} card
 * @param {number} index
 * @param {readonly [order: string, label: string]} what
 */
function faultButton(card, index, [order, label]) {
  const button = /** @type {HTMLButtonElement} */ (card.querySelectorAll(".faults button")[index]);
  if (button.dataset["order"] !== order) {
    button.dataset["order"] = order;
    button.textContent = label;
    nameButton(button, Number(card.dataset["node"]));
  }
  return button;
}

/**
 * @param {HTMLElement} card
 * @param {string} name
 */
function part(card, name) {
  return /** @type {HTMLElement} */ (card.querySelector(`[data-part="${name}"]`));
}
