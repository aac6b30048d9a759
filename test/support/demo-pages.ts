import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { expect, onTestFinished } from "vitest";
import { PATIENCE } from "./demo.ts";

/** Background and text, as `coloursOf` returns them. */
export const LIGHT = ["rgb(246, 244, 239)", "rgb(29, 36, 38)"];
export const DARK = ["rgb(16, 21, 23)", "rgb(232, 235, 234)"];

/** A page of the demo in a browser window of its own, with cookies of its own. The test fails if the browser complains of it. */
export async function openPage(browser: Browser, at: string, options: BrowserContextOptions): Promise<Page> {
  const complaints: string[] = [];
  const context = await browser.newContext(options);
  onTestFinished(async () => {
    await context.close();
    expect(complaints).toEqual([]);
  });
  context.setDefaultTimeout(PATIENCE.timeout);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // The page shows that a request failed, so Chromium's own message is ignored.
    const isFailedRequest = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !isFailedRequest) complaints.push(message.text());
  });
  await page.goto(at);
  await see(page.locator("#link")).toBe("connected");
  return page;
}

export function see(locator: Locator) {
  return expect.poll(() => locator.innerText(), PATIENCE);
}

export function press(where: Page | Locator, name: string): Promise<void> {
  return where.getByRole("button", { name, exact: true }).click();
}

export function widthOf(page: Page): Promise<number> {
  return page.evaluate("document.documentElement.scrollWidth");
}

export function coloursOf(page: Page): Promise<string[]> {
  return page.evaluate("['backgroundColor', 'color'].map((name) => getComputedStyle(document.body)[name])");
}

/** Texts in less than 12 px. */
export function smallTexts(page: Page): Promise<string[]> {
  return page.evaluate(`[...document.querySelectorAll("body *")]
    .filter((it) => [...it.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim() !== ""))
    .filter((it) => parseFloat(getComputedStyle(it).fontSize) < 12)
    .map((it) => it.textContent)`);
}
