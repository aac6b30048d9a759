import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import type { OptionTable } from "../../lib/options/option.ts";
import { CLUSTER_OPTIONS, LOCAL_CACHE_OPTIONS, STORE_OPTIONS } from "../../lib/options/options.ts";
import { ROOT } from "./markdown.ts";

const textOf = (path: string) => readFileSync(join(ROOT, path), "utf8");

const ENTRY = join(ROOT, "lib/index.ts");
const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent({ ...config, include: [], files: [ENTRY] }, ts.sys, ROOT);
const program = ts.createProgram([ENTRY], options);
const checker = program.getTypeChecker();
const exported = checker.getExportsOfModule(
  checker.getSymbolAtLocation(program.getSourceFile(ENTRY) as ts.SourceFile) as ts.Symbol,
);

interface Member {
  readonly name: string;
  /** What an editor shows when the pointer is on it. */
  readonly hover: string;
  /** What it says behind `@default`. */
  readonly byDefault: string | undefined;
}

/** The members of an exported type, wherever they are derived from. */
function membersOf(name: string): Member[] {
  const symbol = exported.find((each) => each.name === name) as ts.Symbol;
  const type = checker.getDeclaredTypeOfSymbol(checker.getAliasedSymbol(symbol));
  return type.getProperties().map((property) => {
    const byDefault = property.getJsDocTags(checker).find((tag) => tag.name === "default");
    return {
      name: property.name,
      hover: ts.displayPartsToString(property.getDocumentationComment(checker)),
      byDefault: byDefault && ts.displayPartsToString(byDefault.text),
    };
  });
}

const TABLES = [
  ["", "ClusteredRedisStoreOptions", STORE_OPTIONS],
  ["localCache.", "LocalCacheOptions", LOCAL_CACHE_OPTIONS],
  ["cluster.", "ClusterOptions", CLUSTER_OPTIONS],
] as const;
const events = membersOf("StoreEvents").map(({ name }) => name);

const REFERENCE = "docs/guides/reference.md";

test.each([
  [REFERENCE, (event: string) => `\`${event}\``],
  ["docs/guides/troubleshooting.md", (event: string) => `store.on("${event}"`],
])("%s names every event", (page, codeOf) => {
  expect(events).toContain("suspect");
  const text = textOf(page);
  expect(events.filter((event) => text.includes(codeOf(event)))).toEqual(events);
});

/** The rows of a page about options: name and default. */
function rowsOf(page: string): Map<string, string> {
  const rows = textOf(page).matchAll(/^\| `([^`]+)` +\|([^|]*)\|/gm);
  return new Map([...rows].map(([, name = "", byDefault = ""]) => [name, byDefault.trim()]));
}

const rows = rowsOf(REFERENCE);

describe.each(TABLES)("options: %s…", (path, type, table: OptionTable) => {
  const members = membersOf(type);

  test("the public type has every row of the table", () => {
    const names = members.map(({ name }) => name).filter((name) => name !== "client");
    expect(names.sort()).toEqual(Object.keys(table).sort());
  });

  test.each(members)("$name has hover text, and a row in the reference", ({ name, hover }) => {
    expect(hover).not.toBe("");
    expect([...rows.keys()]).toContain(path + name);
  });

  test.each(members.filter(({ byDefault = "" }) => /^(true|false|"|\d[\d_]*($| \())/.test(byDefault)))(
    "the default of $name is $byDefault in the code, too, and in the reference",
    ({ name, byDefault = "" }) => {
      const [literal = ""] = byDefault.split(" (");
      const value: unknown = JSON.parse(literal.replaceAll("_", ""));
      const actual = table[name]?.(undefined, name);
      // A group that is enabled is an object.
      expect(typeof actual === "object" ? true : actual).toBe(value);
      expect(rows.get(path + name)).toBe(`\`${literal}\``);
    },
  );
});

test("README.md has at most 1,100 words, and its options are those of the reference", () => {
  const text = textOf("README.md");
  expect(text.split(/\s+/).filter(Boolean).length).toBeLessThanOrEqual(1_100);
  const inBrief = [...rowsOf("README.md")].filter(([name]) => rows.has(name));
  expect(inBrief.length).toBe(8);
  // "required" and "random" are the README's words for what has no value to show.
  const differing = inBrief.filter(
    ([name, byDefault]) => /\d|"/.test(byDefault) && byDefault !== rows.get(name),
  );
  expect(differing).toEqual([]);
});

test.each(["ClusterStats", "LocalCacheStats"])("every member of %s has hover text", (type) => {
  const members = membersOf(type);
  expect(members.length).toBeGreaterThan(5);
  expect(members.filter(({ hover }) => hover === "")).toEqual([]);
});

test("docs/guides/errors.md has a heading for every code of an error or a warning", () => {
  const sources = textOf("lib/reporting/errors.ts") + textOf("lib/reporting/warnings.ts");
  const codes = new Set(sources.match(/"(ERR|WARN)_\w+"/g));
  expect(codes.size).toBeGreaterThan(3);
  const text = textOf("docs/guides/errors.md");
  for (const code of codes) expect(text).toContain(`## ${code.replaceAll('"', "")}`);
});

/** Wrong options whose message does not say all. */
const WRONG: Readonly<Record<string, object>> = {
  "ttl is 0": { ttl: 0 },
  "resolveConflict without merging": { resolveConflict: () => 1 },
  "no prefix with indexBy": { prefix: "", indexBy: () => "" },
  maxAge: { maxAge: 5 },
  ttlMs: { ttlMs: 5 },
  "stale sessions without messages": { cluster: false, localCache: { staleIfErrorMs: 5 } },
  "a lease that is too short": { cluster: { leaseMs: 500 } },
  "a function that returns no client": { cluster: { subscriber: () => undefined } },
};

test.each(Object.keys(WRONG))("docs/guides/errors.md has the message for: %s", (name) => {
  const client = createClient();
  let message = "";
  try {
    new ClusteredRedisStore({ client, ...WRONG[name] });
  } catch (error) {
    message = (error as Error).message;
  }
  const documented = [...textOf("docs/guides/errors.md").matchAll(/`([^`\n]+)`/g)].map(([, text = ""]) => {
    const parts = text.split("…").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`);
  });
  expect(
    documented.some((pattern) => pattern.test(message)),
    message,
  ).toBe(true);
});

test("CONTRIBUTING.md has a row for every folder of lib/ and every file beside them", () => {
  const rows = [...textOf("CONTRIBUTING.md").matchAll(/^\| `([\w-]+(?:\/|\.ts))` +\|/gm)].map(
    ([, name]) => name,
  );
  const entries = readdirSync(join(ROOT, "lib"), { withFileTypes: true });
  expect([...rows].sort()).toEqual(entries.map((it) => (it.isDirectory() ? `${it.name}/` : it.name)).sort());
  expect(entries.length).toBeLessThanOrEqual(14);
});
