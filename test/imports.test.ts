import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";

interface Import {
  readonly from: string;
  readonly to: string;
  /** It leaves nothing in the JavaScript. */
  readonly isTypeOnly: boolean;
}

const LIB = new URL("../lib/", import.meta.url);
const files = readdirSync(LIB, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.replaceAll("\\", "/"));
const textOf = new Map(files.map((file) => [file, readFileSync(new URL(file, LIB), "utf8")]));

/** Everything that a module asks for, in whatever way. */
function importsOf(from: string, text: string): Import[] {
  const found: Import[] = [];
  const add = (module: ts.Expression | undefined, isTypeOnly: boolean) => {
    if (module !== undefined && ts.isStringLiteralLike(module))
      found.push({ from, to: module.text, isTypeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword);
    } else if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal as ts.Expression, true);
    } else if (ts.isCallExpression(node)) {
      const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword;
      if (isImport || node.expression.getText() === "require") add(node.arguments[0], false);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(from, text, ts.ScriptTarget.Latest, true));
  return found;
}

const imports = files.flatMap((file) => importsOf(file, textOf.get(file) as string));

/** The files of lib/ that a file imports, for types or more. */
function neighboursOf(file: string): string[] {
  return imports
    .filter(({ from, to }) => from === file && to.startsWith("."))
    .map(({ to }) => posix.join(posix.dirname(file), to));
}

/** Those, and what they import in turn. */
function reachableFrom(file: string, found = new Set<string>()): Set<string> {
  for (const neighbour of neighboursOf(file)) {
    if (found.has(neighbour)) continue;
    found.add(neighbour);
    reachableFrom(neighbour, found);
  }
  return found;
}

/** Who imports a package into the JavaScript. */
function usersOf(pattern: RegExp): string[] {
  return imports.filter(({ to, isTypeOnly }) => pattern.test(to) && !isTypeOnly).map(({ from }) => from);
}

/** Which folders the files of a folder may import, besides their own. `lib/` itself holds the facade and the entry points. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  "": ["sessions", "cache", "invalidation", "redis", "options", "reporting"],
  sessions: ["cache", "invalidation", "redis", "options", "reporting"],
  invalidation: ["redis", "reporting"],
  options: ["redis", "cache", "reporting"],
  redis: ["reporting"],
  cache: ["reporting"],
  reporting: [],
};

const folderOf = (file: string) => (file.includes("/") ? posix.dirname(file) : "");

test("the imports are found, whatever their form", () => {
  const text = `
    import { type A } from "./values.ts";
    import type { B } from "./types.ts";
    import "./effects.ts";
    export * from "./exports.ts";
    export type { C } from "./type-exports.ts";
    // import "./comment.ts";
    type D = import("./inline.ts").D;
    const later = () => [import("./later.ts"), require("./required.ts"), 'import "./text.ts"'];
  `;
  const found = importsOf("a.ts", text).map(({ to, isTypeOnly }) => [to, isTypeOnly]);
  expect(found).toEqual([
    ["./values.ts", false],
    ["./types.ts", true],
    ["./effects.ts", false],
    ["./exports.ts", false],
    ["./type-exports.ts", true],
    ["./inline.ts", true],
    ["./later.ts", false],
    ["./required.ts", false],
  ]);
});

test("the rules are checked on files that exist, and imports that were found", () => {
  expect(imports.length).toBeGreaterThan(files.length);
  expect(new Set(files.map(folderOf))).toEqual(new Set(Object.keys(ALLOWED)));
  const missing = files.flatMap(neighboursOf).filter((file) => !textOf.has(file));
  expect(missing).toEqual([]);
});

test("the table has no cycle", () => {
  const order: string[] = [];
  const visit = (folder: string, path: readonly string[]) => {
    expect(path).not.toContain(folder);
    for (const next of ALLOWED[folder] as string[]) visit(next, [...path, folder]);
    order.push(folder);
  };
  for (const folder of Object.keys(ALLOWED)) visit(folder, []);
  expect(order.length).toBeGreaterThan(0);
});

describe.each(files)("%s", (file) => {
  test("does not import itself, directly or indirectly", () => {
    expect(reachableFrom(file)).not.toContain(file);
  });

  test("imports only from folders that the table allows", () => {
    const folder = folderOf(file);
    const allowed = [folder, ...(ALLOWED[folder] as string[])];
    expect(neighboursOf(file).filter((neighbour) => !allowed.includes(folderOf(neighbour)))).toEqual([]);
  });

  test("has at most 350 lines", () => {
    const lines = (textOf.get(file) as string).trimEnd().split("\n").length;
    expect(lines).toBeLessThanOrEqual(350);
  });
});

test("only managed-store.ts, which the store derives from, uses express-session at run time", () => {
  expect(usersOf(/^express-session(\/|$)/)).toEqual(["managed-store.ts"]);
});

test("only the factory and the checks of the options ask for the kind of client", () => {
  const asks = /\bkindOf\(|\bisPool\b|"(masters|getMasterNode)" in /;
  const users = files.filter((file) => asks.test(textOf.get(file) as string) && !file.startsWith("options/"));
  expect(users.sort()).toEqual(["redis/client.ts", "redis/topology-of.ts"]);
});

test("nothing uses the redis package at run time: the client is the user's", () => {
  expect(usersOf(/^(redis|@redis)(\/|$)/)).toEqual([]);
});

test("nothing outside lib/ is used at run time but Node itself and express-session", () => {
  expect(usersOf(/^(?!\.\.?\/|node:|express-session$|prom-client$)/)).toEqual([]);
});

test("only the entry for Prometheus uses prom-client, and whoever does not import it does without", () => {
  expect(usersOf(/^prom-client$/)).toEqual(["prometheus.ts"]);
  expect(reachableFrom("index.ts")).not.toContain("prometheus.ts");
});
