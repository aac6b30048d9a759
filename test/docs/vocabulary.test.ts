import { expect, test } from "vitest";
import { pages } from "./markdown.ts";

/** Words that a reader would have to translate, and the field's word. */
const WORDS: Readonly<Record<string, string>> = {
  "announce[sd]?|announcing": "publish",
  "hear[sd]?|hearing": "receive",
  "forget[s]?|forgot(ten)?": "drop, invalidate",
  "left out": "skipped",
  "passed over": "ignored",
  mute: "silent",
  anew: "again",
  "prolong(s|ed|ing)?": "extend",
  "told|tell(s|ing)? of": "reported, published",
  "at the most": "at most",
  ours: "the package's name",
  "carr(y|ies|ied) out": "execute",
  mended: "corrected",
};

const all = pages();

test.each(Object.entries(WORDS))("instead of /%s/ the pages say: %s", (pattern) => {
  const found = all.flatMap(({ path, prose }) =>
    prose.split("\n").flatMap((line, i) => {
      const word = new RegExp(`\\b(${pattern})\\b`, "i").exec(line)?.[0];
      return word === undefined ? [] : [`${path}:${i + 1}: ${word}`];
    }),
  );
  expect(found).toEqual([]);
});
