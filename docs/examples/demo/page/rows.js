// @ts-check
/** @import { ListedDevice, MadeUpDevice, NodeAnswer } from "../live/device-views.ts" */

/** @typedef {Omit<ListedDevice, "publicId"> & { isIn: boolean, answers: readonly NodeAnswer[] | undefined }} Row */

const template = /** @type {HTMLTemplateElement} */ (document.querySelector("#device"));

/**
 * The devices that are listed, and those that have been, as long as anybody has their cookie to ask with; the newest first.
 * @param {readonly ListedDevice[]} listed
 * @param {readonly MadeUpDevice[]} madeUp
 * @param {ListedDevice | undefined} own
 * @param {readonly NodeAnswer[]} ownAnswers
 * @returns {Row[]}
 */
export function rowsOf(listed, madeUp, own, ownAnswers) {
  const asked = madeUp.map((device) => ({ ...device, isThis: false }));
  const known = own === undefined ? asked : [{ ...own, answers: ownAnswers }, ...asked];
  const answersTo = new Map(known.map(({ digest, answers }) => [digest, answers]));
  const isListed = new Set(listed.map(({ digest }) => digest));
  const unlisted = known.filter(({ digest }) => !isListed.has(digest));
  const rows = [
    ...listed.map((device) => ({ ...device, isIn: true, answers: answersTo.get(device.digest) })),
    // Who is not logged in here is shown no list, but the other devices may well be logged in.
    ...unlisted.map((device) => ({
      ...device,
      isIn: device.answers.some(({ says }) => says === "logged in"),
    })),
  ];
  return rows.sort((one, other) => other.since - one.since);
}

/**
 * @param {HTMLElement} list
 * @param {readonly Row[]} rows
 * @param {boolean} mayLogOut
 */
export function showRows(list, rows, mayLogOut) {
  const items = /** @type {HTMLElement[]} */ ([...list.children]);
  const former = new Map(items.map((item) => [item.dataset["digest"], item]));
  for (const [index, row] of rows.entries()) {
    const item = former.get(row.digest) ?? newItem(row);
    former.delete(row.digest);
    // One that stays where it is keeps the focus.
    if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    item.dataset["in"] = String(row.isIn);
    /** @type {HTMLButtonElement} */ (part(item, "log-out")).disabled = !mayLogOut || !row.isIn;
    showAnswers(part(item, "answers"), row.answers);
  }
  for (const item of former.values()) item.remove();
}

/** @param {Row} row */
function newItem({ digest, name, node, since, isThis }) {
  const copy = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
  const item = /** @type {HTMLElement} */ (copy.firstElementChild);
  item.dataset["digest"] = digest;
  part(item, "name").textContent = name;
  if (!isThis) part(item, "this").remove();
  part(item, "where").textContent = `node ${node}`;
  part(item, "since").textContent = new Date(since).toLocaleTimeString("en-GB");
  part(item, "digest").textContent = digest;
  part(item, "log-out").ariaLabel = `Log out ${name}`;
  return item;
}

/**
 * @param {HTMLElement} list
 * @param {readonly NodeAnswer[]} [answers]
 */
function showAnswers(list, answers) {
  if (answers === undefined) {
    list.textContent = "Another browser: only it has the cookie to ask the nodes with.";
    return;
  }
  list.replaceChildren(
    ...answers.map(({ node, says }) => {
      const answer = document.createElement("div");
      answer.dataset["says"] = says;
      const who = document.createElement("dt");
      who.textContent = `node ${node}`;
      const what = document.createElement("dd");
      what.textContent = says;
      answer.append(who, what);
      return answer;
    }),
  );
}

/**
 * @param {HTMLElement} item
 * @param {string} name
 */
function part(item, name) {
  return /** @type {HTMLElement} */ (item.querySelector(`[data-part="${name}"]`));
}
