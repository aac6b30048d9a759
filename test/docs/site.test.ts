import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ROOT } from "./markdown.ts";

/** The site that `npm run docs` makes; undocumented exports and links that it cannot follow are errors there. */
let site: string;
beforeAll(() => {
  site = mkdtempSync(join(tmpdir(), "site-"));
  const bin = join(dirname(createRequire(import.meta.url).resolve("typedoc/package.json")), "bin/typedoc");
  execFileSync(process.execPath, [bin, "--out", site, "--logLevel", "Warn"], { cwd: ROOT, encoding: "utf8" });
}, 240_000);
afterAll(() => rmSync(site, { recursive: true, force: true }));

const files = () => readdirSync(site, { recursive: true, encoding: "utf8" });
const textOf = (file: string) => readFileSync(join(site, file), "utf8");

test("it has the reference of both entry points, and every guide", () => {
  expect(files()).toEqual(
    expect.arrayContaining(
      ["clustered-redis-store", "clustered-redis-store_prometheus"].map((name) =>
        join("modules", `${name}.html`),
      ),
    ),
  );
  const guides = readdirSync(join(ROOT, "docs/guides")).map((name) => {
    const [, title = ""] = /^# (.+)/.exec(readFileSync(join(ROOT, "docs/guides", name), "utf8")) ?? [];
    return title;
  });
  const pages = files().filter((file) => file.startsWith("documents") && file.endsWith(".html"));
  const text = pages.map(textOf).join("\n");
  expect(guides.filter((title) => !text.includes(`>${title}<`))).toEqual([]);
});

test("no link within it is broken", () => {
  const broken = files()
    .filter((file) => file.endsWith(".html"))
    .flatMap((file) => {
      const links = [...textOf(file).matchAll(/(?:href|src)="([^"]+)"/g)].map(([, link]) => link as string);
      const within = links.filter((link) => !/^[a-z]+:/.test(link));
      return within.filter((link) => !leadsSomewhere(file, link)).map((link) => `${file}: ${link}`);
    });
  expect(broken).toEqual([]);
});

function leadsSomewhere(from: string, link: string): boolean {
  const [path = "", anchor] = decodeURI(link).split("#");
  const file = path === "" ? from : join(dirname(from), path);
  if (!existsSync(join(site, file))) return false;
  return !anchor || !file.endsWith(".html") || textOf(file).includes(`id="${anchor}"`);
}
