import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { pages, ROOT } from "./markdown.ts";

/** Words that a reader would have to translate, and the field's word. */
const WORDS: Readonly<Record<string, string>> = {
  "hear[sd]?|hearing": "receive",
  "forget[s]?|forgot(ten)?": "drop, invalidate",
  "left out": "skipped",
  "passed over": "ignored",
  mute: "silent",
  anew: "again",
  "prolong(s|ed|ing)?": "extend",
  "told|tell(s|ing)? of": "reported, published",
  "at the most": "at most",
  "carr(y|ies|ied)( \\w+)? out": "execute",
  mended: "corrected",
};

/** In lib/, an announcement is a message that is published with a write. */
const WORDS_OF_PAGES: Readonly<Record<string, string>> = {
  ...WORDS,
  "announce[sd]?|announcing": "publish",
  ours: "the package's name",
};

/** The same for names in lib/, as regular expressions for the whole name. */
const NAMES: Readonly<Record<string, string>> = {
  "was|is|there|here|mine": "base, theirs, ours",
  "within|trip": "withDeadline, call",
  "forget\\w*|distrust": "invalidate, drop, remove",
  "heard\\w*|isHeardBy|told": "onMessage, isConnectedTo",
  "isMute|cameBack|beat|\\w*Anew": "isSilent, onEcho, sendHeartbeat, again",
  "note|noted": "add",
  "MOST_\\w+|LONGEST_\\w+|LARGEST\\w*": "MAX_…",
  "\\w*_AT_ONCE|\\w+_SLACK_MS|LOST_MS": "BATCH_SIZE, INDEX_GRACE_MS",
  "survey|mayChange|grouped|shown|reasonOf|rightsFor|labelOf|withoutSecrets|tellEvent|traced":
    "discover, batches, describeValue, errorMessage, aclHint, hashSid, redactError",
  "\\w+InTurn|turns?": "a turn is one of the event loop",
};

/** A public type has this one. */
const PUBLIC_NAMES = new Set(["mine"]);

const lib = readdirSync(join(ROOT, "lib"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => ({ path: `lib/${name}`, text: readFileSync(join(ROOT, "lib", name), "utf8") }));

/** Comments alone; lines keep their numbers. Code in them is code. */
const comments = lib.map(({ path, text }) => {
  const blank = (code: string) => code.replaceAll(/[^\n]/g, "");
  const parts = text.split(/(\/\*[\s\S]*?\*\/|\/\/[^\n]*)/);
  const prose = parts.map((part, i) => (i % 2 === 1 ? part : blank(part))).join("");
  return { path, prose: prose.replaceAll(/`[^`\n]*`/g, "") };
});

const names = lib.flatMap(({ path, text }) => {
  const found = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) found.add(node.text.replace(/^#/, ""));
    // A member's name counts where it is declared, if that is in lib/.
    if (ts.isPropertyAccessExpression(node)) visit(node.expression);
    else ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest));
  return [...found].map((name) => ({ path, name }));
});

function uses(pattern: string, texts: readonly { path: string; prose: string }[]): string[] {
  return texts.flatMap(({ path, prose }) =>
    prose.split("\n").flatMap((line, i) => {
      const word = new RegExp(`\\b(${pattern})\\b`, "i").exec(line)?.[0];
      return word === undefined ? [] : [`${path}:${i + 1}: ${word}`];
    }),
  );
}

const all = pages();

test.each(Object.entries(WORDS_OF_PAGES))("instead of /%s/ the pages say: %s", (pattern) => {
  expect(uses(pattern, all)).toEqual([]);
});

test.each(Object.entries(WORDS))("instead of /%s/ the comments of lib/ say: %s", (pattern) => {
  expect(comments.length).toBeGreaterThan(50);
  expect(uses(pattern, comments)).toEqual([]);
});

test.each(Object.entries(NAMES))("instead of /%s/ lib/ says: %s", (pattern) => {
  const whole = new RegExp(`^(${pattern})$`);
  const found = names.filter(({ name }) => whole.test(name) && !PUBLIC_NAMES.has(name));
  expect(found.map(({ path, name }) => `${path}: ${name}`)).toEqual([]);
});
