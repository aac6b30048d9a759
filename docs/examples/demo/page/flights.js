// @ts-check
/** @import { Flight } from "../live/news.ts" */

const LEG_MS = 420;
/** More than this nobody can follow. */
const MOST_DOTS = 40;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
const sky = /** @type {HTMLElement} */ (document.querySelector("#sky"));

/**
 * Shows that something moves between a node and Redis. A message is two flights: from the writer up to Redis, and from there
 * down to each node that received it.
 * @param {Flight} flight
 * @param {ReadonlyMap<number, HTMLElement>} cards
 */
export function fly(flight, cards) {
  const card = cards.get(flight.node);
  if (card === undefined || document.hidden) return;
  if (flight.kind === "hit") return flash(card, "--good");
  if (flight.kind === "received") {
    const from = cards.get(flight.from) ?? card;
    // What has been sent must first get to Redis.
    travel("message", [redisAbove(from, "data"), redisAbove(card, "bus"), port(card, "bus")], LEG_MS).then(
      () => flash(card, "--accent"),
    );
  } else if (flight.kind === "write") travel("message", [port(card, "data"), redisAbove(card, "data")]);
  else travel("read", [port(card, "data"), redisAbove(card, "data"), port(card, "data")]);
}

/** @typedef {{ x: number, y: number }} Point */

/**
 * @param {"message" | "read"} kind
 * @param {readonly Point[]} points
 * @param {number} [delay]
 */
async function travel(kind, points, delay = 0) {
  if (calm.matches || sky.childElementCount >= MOST_DOTS) return;
  const dot = document.createElement("span");
  dot.className = `dot ${kind}`;
  sky.append(dot);
  const frames = points.map(({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` }));
  const timing = { duration: LEG_MS * (points.length - 1), delay, fill: /** @type {const} */ ("backwards") };
  // Not seen until it starts.
  dot.animate([{ opacity: 0 }, { opacity: 0 }], { duration: delay });
  await dot.animate(frames, { ...timing, easing: "ease-in-out" }).finished.catch(() => {});
  dot.remove();
}

/**
 * Where a wire meets its node.
 * @param {HTMLElement} card
 * @param {"data" | "bus"} wire
 * @returns {Point}
 */
function port(card, wire) {
  const { left, bottom } = part(card, wire).getBoundingClientRect();
  return { x: left + 1, y: bottom };
}

/**
 * Where a wire meets Redis.
 * @param {HTMLElement} card
 * @param {"data" | "bus"} wire
 * @returns {Point}
 */
function redisAbove(card, wire) {
  const redis = /** @type {HTMLElement} */ (document.querySelector("#redis")).getBoundingClientRect();
  return { x: port(card, wire).x, y: (redis.top + redis.bottom) / 2 };
}

/**
 * @param {HTMLElement} card
 * @param {string} name
 */
function part(card, name) {
  return /** @type {HTMLElement} */ (card.querySelector(`[data-part="${name}"]`));
}

/**
 * A colour that comes and goes is no motion, so this is for everybody.
 * @param {HTMLElement} card
 * @param {string} colour
 */
function flash(card, colour) {
  card.animate([{ borderColor: `var(${colour})` }, {}], { duration: 500, easing: "ease-out" });
}
