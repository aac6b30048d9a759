import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { accessibilityFaults } from "../support/accessibility.ts";
import { startChromium } from "../support/chromium.ts";
import { PATIENCE } from "../support/demo.ts";
import { pages, ROOT } from "./markdown.ts";

const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };

/**
 * The site that `npm run docs` makes; undocumented exports and links that it cannot follow are errors there. Errors in types are
 * found elsewhere.
 */
let site: string;
beforeAll(() => {
  site = mkdtempSync(join(tmpdir(), "site-"));
  const bin = join(dirname(createRequire(import.meta.url).resolve("typedoc/package.json")), "bin/typedoc");
  const args = [bin, "--out", site, "--logLevel", "Warn", "--skipErrorChecking"];
  execFileSync(process.execPath, args, { cwd: ROOT, encoding: "utf8" });
}, 600_000);
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
  const documents = files().filter((file) => file.startsWith("documents") && file.endsWith(".html"));
  const text = documents.map(textOf).join("\n");
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

test("the first page has a head of its own, with the version, and each title once", () => {
  const text = textOf("index.html");
  expect(text.match(/<h1[ >]/g)).toHaveLength(1);
  expect(text).toContain(`<small>v${version}</small>`);
  for (const name of ["Getting_started", "Moving_from_connect-redis", "Documentation"]) {
    expect(text).toMatch(new RegExp(`class="landing-links">.*<a href="documents/${name}.html">`));
  }
  expect(text).toContain('src="media/how-it-works.svg"');
  expect(text).toContain('id="quick-start"');
  const guide = textOf("documents/Troubleshooting.html");
  expect(guide.match(/<h1[ >]/g)).toHaveLength(1);
  expect(guide).toContain(`clustered-redis-store - v${version}`);
});

test("no address is a link that no page made one", () => {
  const written = new Set(pages().flatMap(({ text }) => text.match(/https?:\/\/[^\s)>"'`|]+/g) ?? []));
  const invented = files()
    .filter((file) => file === "index.html" || /^documents.*html$/.test(file))
    .flatMap((file) =>
      [...textOf(file).matchAll(/<a href="(https?:[^"]+)"/g)].map(([, link]) => link as string),
    )
    .filter((link) => !written.has(link));
  // This is TypeDoc's own, at the foot of each page.
  expect([...new Set(invented)]).toEqual(["https://typedoc.org/"]);
});

test("llms.txt lists every page of the index, with what it is about; llms-full.txt contains them", () => {
  const list = textOf("llms.txt");
  expect(list).toMatch(/^# clustered-redis-store\n\n> \w/);
  const links = [...list.matchAll(/^- \[.+\]\(([^)]+)\)(?:: (.+))?$/gm)];
  expect(links.filter(([, link]) => !existsSync(join(site, link as string)))).toEqual([]);
  const guides = links.filter(([, link]) => link?.startsWith("documents/"));
  expect(guides.length).toBeGreaterThan(readdirSync(join(ROOT, "docs/guides")).length);
  const whole = textOf("llms-full.txt");
  for (const { path, text } of pages().filter(({ path }) => path.startsWith("docs/"))) {
    expect(whole.includes(text.trim()), path).toBe(true);
  }
});

/** The groups of docs/README.md. */
function groups(): string[] {
  const index = readFileSync(join(ROOT, "docs/README.md"), "utf8");
  return [...index.matchAll(/^(?:\*\*|## )([^*\n]+)/gm)].map(([, group]) => group as string);
}

const WIDE = { viewport: { width: 1400, height: 900 } } as const;
const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } as const;

describe("in a browser", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startChromium();
  }, 600_000);
  afterAll(() => browser?.close());

  async function open(file: string, options: BrowserContextOptions = WIDE): Promise<Page> {
    const context = await browser.newContext(options);
    const errors: unknown[] = [];
    onTestFinished(async () => {
      await context.close();
      expect(errors).toEqual([]);
    });
    context.setDefaultTimeout(PATIENCE.timeout);
    const page = await context.newPage();
    page.on("pageerror", (error) => errors.push(error));
    await page.goto(pathToFileURL(join(site, file)).href);
    return page;
  }

  test.each(["kubernetes", "NOPERM", "maxmemory", "evictFromCache"])("search finds %s", async (word) => {
    const page = await open("index.html");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("combobox").fill(word);
    const results = page.locator("#tsd-search-results li");
    await expect.poll(() => results.count(), PATIENCE).toBeGreaterThan(0);
    await results.first().getByRole("link").click();
    await expect
      .poll(async () => (await page.content()).toLowerCase(), PATIENCE)
      .toContain(word.toLowerCase());
  });

  test("the sidebar has the groups of the index, in its order", async () => {
    const page = await open("index.html");
    const shown = page.locator("#tsd-nav-container > li > details > summary");
    expect(groups().length).toBeGreaterThan(2);
    await expect
      .poll(async () => (await shown.allInnerTexts()).map((text) => text.trim()), PATIENCE)
      .toEqual([...groups(), "About the project", "All types"]);
  });

  const PAGES = [
    "index.html",
    "documents/Monitoring.html",
    "documents/Troubleshooting.html",
    "classes/clustered-redis-store.ClusteredRedisStore.html",
  ];
  const LOOKS: readonly (readonly [string, BrowserContextOptions])[] = [
    ["in the light", { ...WIDE, colorScheme: "light" }],
    ["in the dark", { ...WIDE, colorScheme: "dark" }],
    ["on a phone", { ...PHONE, colorScheme: "light" }],
    ["on a phone in the dark", { ...PHONE, colorScheme: "dark" }],
  ];

  describe.each(LOOKS)("%s", (_look, options) => {
    test.each(PAGES)("%s has its colors, fits its window, and is accessible", async (file) => {
      const page = await open(file, options);
      await page.getByRole("main").waitFor();
      const background = await page.evaluate("getComputedStyle(document.body).backgroundColor");
      expect(background).toBe(options.colorScheme === "dark" ? "rgb(43, 46, 51)" : "rgb(242, 244, 248)");
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(
        options.viewport?.width as number,
      );
      // TypeDoc puts the link of a heading into its <summary>.
      expect(await accessibilityFaults(page, ["nested-interactive"])).toEqual([]);
    });
  });

  test("on a phone, a wide table scrolls by itself", async () => {
    const page = await open("documents/Troubleshooting.html", PHONE);
    const widths = async () =>
      (await page.evaluate(
        "[...document.querySelectorAll('table')].map((table) => [table.scrollWidth, table.clientWidth])",
      )) as [number, number][];
    const isWide = async () => (await widths()).some(([content, shown]) => content > shown);
    await expect.poll(isWide, PATIENCE).toBe(true);
    for (const [, shown] of await widths()) expect(shown).toBeLessThanOrEqual(PHONE.viewport.width);
  });

  test.each([WIDE, PHONE])("code is copied with a button, $viewport.width px wide", async (options) => {
    const page = await open("index.html", options);
    const block = page.locator("pre").first();
    if (!("hasTouch" in options)) await block.hover();
    const button = block.getByRole("button", { name: "Copy" });
    const opacity = "getComputedStyle(document.querySelector('pre > button')).opacity";
    await expect.poll(() => page.evaluate(opacity), PATIENCE).toBe("1");
    // It says so for a second.
    const copied = block.getByRole("button", { name: "Copied!" }).waitFor();
    await button.click();
    await copied;
  });
});

/** Contrast of two colors as `getComputedStyle` gives them: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio. */
const CONTRAST = `(one, other) => {
  const luminance = (color) => {
    const [r, g, b] = color.match(/\\d+/g).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}`;

describe("the charts", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await startChromium();
  });
  afterAll(() => browser.close());

  const charts = readdirSync(join(ROOT, "docs/images")).filter((name) => /^bench-.*\.svg$/.test(name));

  test.each(["light", "dark"] as const)(
    "are readable on any page, for a reader who prefers %s",
    async (colorScheme) => {
      expect(charts.length).toBeGreaterThan(0);
      const page = await browser.newPage({ colorScheme });
      page.setDefaultTimeout(PATIENCE.timeout);
      for (const chart of charts) {
        await page.goto(pathToFileURL(join(ROOT, "docs/images", chart)).href);
        const lowest = await page.evaluate(`(() => {
        const contrast = ${CONTRAST};
        const fill = (it) => getComputedStyle(it).fill;
        const background = document.querySelector("rect");
        const [width, height] = ["width", "height"].map((name) => background.getAttribute(name));
        if (document.documentElement.getAttribute("viewBox") !== \`0 0 \${width} \${height}\`) return 0;
        return Math.min(...[...document.querySelectorAll("text")].map((it) => contrast(fill(it), fill(background))));
      })()`);
        expect(lowest, chart).toBeGreaterThanOrEqual(4.5);
      }
      await page.close();
    },
  );
});

test("its diagrams are drawn, and drawn anew in the colours of the dark", { timeout: 600_000 }, async () => {
  const drawn = files().filter(
    (file) => file.endsWith(".html") && textOf(file).includes('<code class="mermaid">'),
  );
  expect(drawn.length).toBeGreaterThan(0);
  const browser = await startChromium();
  onTestFinished(() => browser.close());
  for (const file of drawn) {
    const page = await browser.newPage({ colorScheme: "light" });
    page.setDefaultTimeout(PATIENCE.timeout);
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
