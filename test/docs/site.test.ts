import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { startChromium } from "../support/chromium.ts";
import { PATIENCE } from "../support/demo.ts";
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

test("its diagrams are drawn, and drawn anew in the colours of the dark", { timeout: 600_000 }, async () => {
  const pages = files().filter(
    (file) => file.endsWith(".html") && textOf(file).includes('<code class="mermaid">'),
  );
  expect(pages.length).toBeGreaterThan(0);
  const browser = await startChromium();
  onTestFinished(() => browser.close());
  for (const file of pages) {
    const page = await browser.newPage({ colorScheme: "light" });
    const errors: unknown[] = [];
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(pathToFileURL(join(site, file)).href);
    const drawings = page.locator("figure.diagram > svg");
    const blocks = textOf(file).split('<code class="mermaid">').length - 1;
    await expect.poll(() => drawings.count(), PATIENCE).toBe(blocks);
    await expect.poll(() => page.locator("code.mermaid:visible").count(), PATIENCE).toBe(0);
    const inTheLight = await drawings.last().innerHTML();
    await page.emulateMedia({ colorScheme: "dark" });
    await expect.poll(() => drawings.last().innerHTML(), PATIENCE).not.toBe(inTheLight);
    expect(errors).toEqual([]);
  }
});

function leadsSomewhere(from: string, link: string): boolean {
  const [path = "", anchor] = decodeURI(link).split("#");
  const file = path === "" ? from : join(dirname(from), path);
  if (!existsSync(join(site, file))) return false;
  return !anchor || !file.endsWith(".html") || textOf(file).includes(`id="${anchor}"`);
}
