// docs/README.md is the index of the documentation: its groups, pages and their order are also those of the site and of llms.txt.
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/**
 * @typedef {object} Entry
 * @property {string} path from the root of the repository
 * @property {string} group
 * @property {string} about what the index says of the page
 */

const INDEX = "docs/README.md";
const ABOUT_THE_PROJECT = "About the project";

/** @returns {Entry[]} every page of the site but the landing page */
export function pagesOfIndex() {
  const entries = [{ path: INDEX, group: ABOUT_THE_PROJECT, about: "This list, in reading order." }];
  let group = "";
  for (const line of readFileSync(INDEX, "utf8").split("\n")) {
    group = /^(?:\*\*|##+ )([^*]+)/.exec(line)?.[1] ?? group;
    const [, target, about = ""] = /^(?:\d+\.|-) \[[^\]]+\]\(([^)#]+\.md)\)[:,]? ?(.*)/.exec(line) ?? [];
    const path = target && normalize(join(dirname(INDEX), target));
    if (path && path !== "README.md") entries.push({ path, group, about: about.replace(/^in the .*/, "") });
  }
  const others = [
    ["CHANGELOG.md", "What has changed, by version."],
    ["CONTRIBUTING.md", "Where what is, and how to change it."],
    ["SECURITY.md", "What is promised, and how to report a vulnerability."],
  ];
  for (const [path, about] of others) entries.push({ path, group: ABOUT_THE_PROJECT, about });
  return entries.filter(({ path }) => existsSync(path));
}

/** The groups, in the order of the index; what is about the project itself comes last. */
export function groupsOfIndex() {
  const groups = [...new Set(pagesOfIndex().map(({ group }) => group))];
  return [...groups.filter((group) => group !== ABOUT_THE_PROJECT), ABOUT_THE_PROJECT];
}
