import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { expect, test } from "vitest";
import { CACHE_STATS, CLUSTER_STATS } from "../../lib/reporting/counters.ts";
import { ROOT } from "./markdown.ts";

const textOf = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** The members of an interface of lib/. */
function membersOf(file: string, name: string): string[] {
  const source = ts.createSourceFile(file, textOf(`lib/${file}`), ts.ScriptTarget.Latest, true);
  const found = source.statements.find(
    (statement): statement is ts.InterfaceDeclaration =>
      ts.isInterfaceDeclaration(statement) && statement.name.text === name,
  );
  return found?.members.map((member) => member.name?.getText() ?? "") ?? [];
}

const events = membersOf("reporting/types.ts", "StoreEvents");
// The last three have no metric that is just their value, and so no row.
const stats = [...Object.keys(CACHE_STATS), ...Object.keys(CLUSTER_STATS), "hitRate", "nodeId", "state"];

test.each(["README.md", "docs/guides/troubleshooting.md"])("%s names every event and every stat", (page) => {
  expect(events).toContain("suspect");
  expect(stats).toEqual(expect.arrayContaining(["hits", "fencedFills"]));
  const text = textOf(page);
  const named = [...events, ...stats].filter((name) => text.includes(`\`${name}\``));
  expect(named).toEqual([...events, ...stats]);
});

test("README.md has a row for every option", () => {
  const options = [
    ...membersOf("options/options.ts", "ClusteredRedisStoreOptions"),
    ...membersOf("options/options.ts", "LocalCacheOptions").map((name) => `localCache.${name}`),
    ...membersOf("options/options.ts", "ClusterOptions").map((name) => `cluster.${name}`),
  ];
  expect(options).toEqual(expect.arrayContaining(["client", "localCache.ttlMs", "cluster.leaseMs"]));
  const rows = [...textOf("README.md").matchAll(/^\| `([^`]+)` +\|/gm)].map(([, name]) => name);
  expect(rows).toEqual(expect.arrayContaining(options));
});

test("docs/guides/errors.md has a heading for every code", () => {
  const codes = new Set(textOf("lib/reporting/errors.ts").match(/"ERR_\w+"/g));
  expect(codes.size).toBeGreaterThan(3);
  const text = textOf("docs/guides/errors.md");
  for (const code of codes) expect(text).toContain(`## ${code.replaceAll('"', "")}`);
});

test("CONTRIBUTING.md has a row for every folder of lib/ and every file beside them", () => {
  const rows = [...textOf("CONTRIBUTING.md").matchAll(/^\| `([\w-]+(?:\/|\.ts))` +\|/gm)].map(
    ([, name]) => name,
  );
  const entries = readdirSync(join(ROOT, "lib"), { withFileTypes: true });
  expect([...rows].sort()).toEqual(entries.map((it) => (it.isDirectory() ? `${it.name}/` : it.name)).sort());
  expect(entries.length).toBeLessThanOrEqual(14);
});
