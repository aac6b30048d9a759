import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import GithubSlugger from "github-slugger";

export const ROOT: string = resolve(import.meta.dirname, "../..");

/** A fenced block. What stands behind its language is for these tests, and no reader sees it: `file=app.mjs`, `run`. */
export interface Block {
  /** Where it is, for people: `docs/guides/errors.md:6`. */
  readonly place: string;
  readonly language: string;
  readonly flags: ReadonlyMap<string, string>;
  readonly code: string;
}

export interface Page {
  /** Its path from the root of the repository. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** The text without blocks and inline code, in which links are links. Lines keep their numbers. */
  readonly prose: string;
  /** The ids that GitHub gives its headings. */
  readonly anchors: ReadonlySet<string>;
}

const FENCE = /^( *)```([^\n]*)\n([\s\S]*?)^\1```[^\S\n]*$/gm;

/** Every Markdown file of the repository. */
export function pages(): Page[] {
  const inDocs = readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" }).map((name) =>
    join("docs", name).replaceAll("\\", "/"),
  );
  return [...readdirSync(ROOT), ...inDocs].filter((path) => path.endsWith(".md")).map(readPage);
}

function readPage(path: string): Page {
  const text = readFileSync(join(ROOT, path), "utf8");
  const blocks = [...text.matchAll(FENCE)].map(([, indent = "", info = "", code = ""], i, all): Block => {
    const line = text.slice(0, all[i]?.index).split("\n").length;
    const [language = "", ...flags] = info.trim().split(/\s+/);
    const pairs = flags.map((flag) => flag.split("=") as [string, string?]);
    return {
      place: `${path}:${line}`,
      language,
      flags: new Map(pairs.map(([name, value = ""]) => [name, value])),
      code: code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    };
  });
  const withoutBlocks = text.replaceAll(FENCE, (block) => block.replaceAll(/[^\n]/g, ""));
  const prose = withoutBlocks.replaceAll(/(`+)[^`\n]*\1/g, "");
  return { path, text, blocks, prose, anchors: anchorsOf(withoutBlocks) };
}

function anchorsOf(text: string): Set<string> {
  const slugger = new GithubSlugger();
  const headings = [...text.matchAll(/^#{1,6} +(.+)$/gm)].map(([, heading = ""]) => heading);
  const words = headings.map((heading) => heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").trim());
  return new Set(words.map((heading) => slugger.slug(heading)));
}
