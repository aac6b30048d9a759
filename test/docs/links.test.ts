import { existsSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { describe, expect, test } from "vitest";
import { type Page, pages, ROOT } from "./markdown.ts";

const all = pages();
const pageAt = new Map(all.map((page) => [page.path, page]));

function linksOf(page: Page): string[] {
  const inline = [...page.prose.matchAll(/\]\(([^)\s]+)(?: "[^"]*")?\)/g)];
  const references = [...page.prose.matchAll(/^\[[^\]]+\]: (\S+)/gm)];
  return [...inline, ...references].map(([, target]) => target as string);
}

/** What is wrong with a link; undefined if nothing is. */
function fault(page: Page, link: string): string | undefined {
  if (/^[a-z]+:/.test(link)) {
    return URL.canParse(link) && link.startsWith("https://") ? undefined : "not an https address";
  }
  const [path = "", anchor] = link.split("#");
  const target = path === "" ? page.path : normalize(join(dirname(page.path), decodeURI(path)));
  if (relative(ROOT, join(ROOT, target)).startsWith("..")) return "leads out of the repository";
  if (!existsSync(join(ROOT, target))) return "there is no such file";
  if (anchor === undefined) return undefined;
  const anchors = pageAt.get(target)?.anchors;
  if (anchors === undefined) return "no page with headings";
  return anchors.has(anchor) ? undefined : `there is no such heading; there are ${[...anchors].join(", ")}`;
}

test("there are pages, and links in them", () => {
  expect(all.map(({ path }) => path)).toEqual(
    expect.arrayContaining(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/guides/errors.md"]),
  );
  expect(all.flatMap(linksOf).length).toBeGreaterThan(50);
});

test.each(all.map((page) => [page.path, page] as const))("no link of %s is broken", (_path, page) => {
  const broken = linksOf(page).flatMap((link) => {
    const why = fault(page, link);
    return why === undefined ? [] : [`${link}: ${why}`];
  });
  expect(broken).toEqual([]);
});

describe("the index", () => {
  const index = pageAt.get("docs/README.md") as Page;

  test("names every guide", () => {
    const linked = linksOf(index).map((link) => normalize(join("docs", link.split("#")[0] as string)));
    const guides = all.map(({ path }) => path).filter((path) => path.startsWith("docs/guides/"));
    expect(linked).toEqual(expect.arrayContaining(guides));
  });

  test("is named by the README", () => {
    expect(linksOf(pageAt.get("README.md") as Page)).toContain("docs/README.md");
  });
});
