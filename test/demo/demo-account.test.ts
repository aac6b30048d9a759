import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accessibilityFaults } from "../support/accessibility.ts";
import { startChromium } from "../support/chromium.ts";
import { Demo, PATIENCE } from "../support/demo.ts";
import { coloursOf, DARK, LIGHT, openPage, press, see, smallTexts, widthOf } from "../support/demo-pages.ts";
import { directClient } from "../support/node.ts";

const INSTALLING_MS = 600_000;
const IN = "node 1\nlogged in\nnode 2\nlogged in\nnode 3\nlogged in";
const OUT = IN.replaceAll("logged in", "logged out");

let browser: Browser;
let demo: Demo;
let origin: string;

beforeAll(async () => {
  browser = await startChromium();
  demo = new Demo();
  origin = await demo.origin();
}, INSTALLING_MS);

afterAll(async () => {
  await browser?.close();
  demo?.process.kill("SIGINT");
  await demo?.exitCode();
});

let users = 0;
/** Each test has one of its own. */
function newUser(): string {
  return `user${++users}`;
}

/** The account page of a browser in which that user is logged in. */
async function open(user: string, options: BrowserContextOptions = {}): Promise<Page> {
  const page = await openPage(browser, `${origin}/account`, options);
  expect((await page.request.post(`${origin}/login?user=${user}`)).status()).toBe(200);
  // The page may have heard of it, and looked, before the browser had the cookie.
  await page.reload();
  await see(page.getByRole("heading", { level: 2 })).toBe(user);
  return page;
}

function devices(page: Page): Locator {
  return page.getByRole("list", { name: "devices" }).getByRole("listitem");
}

function device(page: Page, name: string): Locator {
  return devices(page).filter({ hasText: name });
}

/** What the nodes answer to a device. */
function answers(row: Locator): Locator {
  return row.locator("dl");
}

/** Logs in from so many other devices. */
async function logInElsewhere(page: Page, count: number): Promise<void> {
  const before = await devices(page).count();
  for (let more = 1; more <= count; more++) {
    await press(page, "Log in from another device");
    await expect.poll(() => devices(page).count(), PATIENCE).toBe(before + more);
  }
}

describe("the account page of the demo", () => {
  test("is a link away from the nodes, and logs in who is nobody yet", async () => {
    const page = await openPage(browser, origin, {});
    await page.getByRole("link", { name: "Your devices" }).click();
    await see(page.getByRole("heading", { level: 2 })).toBe("Nobody is logged in");
    expect(await page.getByRole("button").allInnerTexts()).toEqual(["Log in as ada"]);
    await press(page, "Log in as ada");
    await see(page.getByRole("heading", { level: 2 })).toBe("ada");
    await see(devices(page)).toMatch(/this device\s+logged in on node [123] at/);
    await page.getByRole("link", { name: "The nodes, live" }).click();
    await see(page.getByRole("heading", { level: 1 })).toBe("clustered-redis-store");
  });

  test("lists the devices, the newest first, and what each node answers to each of them", async () => {
    const page = await open(newUser());
    await logInElsewhere(page, 2);
    await expect
      .poll(() => devices(page).getByRole("heading").allInnerTexts(), PATIENCE)
      .toEqual([
        "Safari on iPad",
        "Firefox on Android",
        expect.stringMatching(/^Chrome on \w+\s+this device$/),
      ]);
    for (const row of await devices(page).all()) await see(answers(row)).toBe(IN);
    await see(page.locator("#count")).toBe("3 devices are logged in");
    const where = await devices(page).locator('[data-part="where"]').allInnerTexts();
    expect(where[0]).not.toBe(where[1]);
  });

  test("logs out the others: every node knows them no more, and this one still", async () => {
    const page = await open(newUser());
    await logInElsewhere(page, 3);
    await press(page, "Log out the others");
    for (const name of ["Firefox on Android", "Safari on iPad", "Edge on Windows"]) {
      await see(answers(device(page, name))).toBe(OUT);
    }
    await see(answers(device(page, "this device"))).toBe(IN);
    await see(page.locator("#count")).toBe("1 device is logged in");
    await see(page.locator("#said")).toMatch(/^Node [123] logged out 3 devices/);
    expect(await page.getByRole("button", { name: "Log out the others" }).isDisabled()).toBe(true);
    const listed = await (await page.request.get(`${origin}/devices`)).json();
    expect(listed.devices).toEqual([expect.objectContaining({ isThis: true })]);
  });

  test("logs out another browser, too, whose page shows it at once", async () => {
    const user = newUser();
    const [one, other] = [await open(user), await open(user)];
    await expect.poll(() => devices(one).count(), PATIENCE).toBe(2);
    await see(devices(one).first()).toContain("only it has the cookie");
    await press(one, "Log out the others");
    await see(answers(devices(other).last())).toBe(OUT);
    await see(other.getByRole("heading", { level: 2 })).toBe(`${user}, logged out here`);
    await expect.poll(() => devices(one).count(), PATIENCE).toBe(1);
    await see(answers(devices(one))).toBe(IN);
  });

  test("logs out one device, which can log in again", async () => {
    const page = await open(newUser());
    await logInElsewhere(page, 2);
    await press(page, "Log out Firefox on Android");
    await see(answers(device(page, "Firefox"))).toBe(OUT);
    await see(answers(device(page, "Safari"))).toBe(IN);
    await press(page, "Log in from another device");
    await see(answers(devices(page).first())).toBe(IN);
    await see(devices(page).first()).toContain("Firefox on Android");
    await expect.poll(() => devices(page).count(), PATIENCE).toBe(3);
  });

  test("logs out everywhere, and in again", async () => {
    const user = newUser();
    const page = await open(user);
    await logInElsewhere(page, 1);
    await press(page, "Log out everywhere");
    for (const row of await devices(page).all()) await see(answers(row)).toBe(OUT);
    await see(page.locator("#count")).toBe("No devices are logged in");
    await press(page, `Log in as ${user}`);
    await see(page.getByRole("heading", { level: 2 })).toBe(user);
    await see(answers(device(page, "this device"))).toBe(IN);
  });

  test("says so when there is no device left to log in from", async () => {
    const page = await open(newUser());
    await logInElsewhere(page, 5);
    await press(page, "Log in from another device");
    await see(page.locator("#said")).toBe("All other devices are logged in already.");
  });

  test("shows which node does not answer, until it does", async () => {
    const page = await open(newUser());
    await see(answers(devices(page))).toBe(IN);
    await page.request.post(`${origin}/page/nodes/3/kill`);
    await see(answers(devices(page))).toBe(IN.replace(/(node 3\n).*/, "$1no answer"));
    await page.request.post(`${origin}/page/nodes/3/start`);
    await see(answers(devices(page))).toBe(IN);
  });

  test("looks without being told of or counted on the other page", async () => {
    const user = newUser();
    const page = await open(user);
    await logInElsewhere(page, 1);
    const nodes = await openPage(browser, origin, {});
    await see(nodes.getByRole("log")).toContain("logs in from another device, Firefox on Android");
    await press(nodes, "Reset");
    await see(nodes.locator("#requests")).toBe("0");
    await page.reload();
    await see(answers(device(page, "this device"))).toBe(IN);
    // Each node has told what it has done since.
    await expect
      .poll(async () => Number(await nodes.locator("#background").innerText()), PATIENCE)
      .toBeGreaterThan(5);
    await see(nodes.locator("#requests")).toBe("0");
    await see(nodes.getByRole("log")).not.toMatch(new RegExp(`GET /(me|devices).*${user}`));
  });

  test("no page, and no event that pages get, contains a session's id", async () => {
    const nodes = await openPage(browser, origin, {});
    const aborting = new AbortController();
    const { body } = await fetch(`${origin}/page/events`, { signal: aborting.signal });
    let events = "";
    const listening = (async () => {
      for await (const chunk of body ?? expect.fail("no events")) events += Buffer.from(chunk).toString();
    })().catch(() => {});
    const page = await open(newUser());
    await logInElsewhere(page, 2);
    await press(device(page, "Firefox on Android"), "Log out Firefox on Android");
    await expect.poll(() => events, PATIENCE).toContain("Firefox on Android");
    const [cookie] = await page.context().cookies();
    const own = decodeURIComponent(cookie?.value ?? "").slice(2, 34);
    const keys = await (await directClient()).keys("*");
    const sids = keys.flatMap((key) => /:([\w-]{32})$/.exec(key)?.[1] ?? []);
    expect(sids).toContain(own);
    expect(sids.length).toBeGreaterThan(1);
    const listed = await (await page.request.get(`${origin}/devices`)).text();
    const texts = [events, listed, await page.content(), await nodes.content()];
    aborting.abort();
    await listening;
    for (const sid of sids) for (const text of texts) expect(text).not.toContain(sid);
  });

  test("logs in nobody for a foreign page, and nobody without a name", async () => {
    const logIn = (user: string, headers: Record<string, string> = {}) =>
      fetch(`${origin}/page/devices/log-in?user=${user}`, { method: "POST", headers });
    expect((await logIn("eve", { origin: "https://example.org" })).status).toBe(403);
    expect((await logIn("")).status).toBe(409);
    expect((await fetch(`${origin}/logout-others`, { method: "POST" })).status).toBe(401);
  });

  test("logs out the others on a phone, in the dark", async () => {
    const phone = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true } as const;
    const page = await open(newUser(), { ...phone, colorScheme: "dark" });
    await logInElsewhere(page, 2);
    await press(page, "Log out the others");
    await see(answers(devices(page).first())).toBe(OUT);
    await see(answers(device(page, "this device"))).toBe(IN);
    expect(await widthOf(page)).toBeLessThanOrEqual(390);
    expect(await coloursOf(page)).toEqual(DARK);
  });

  test.each(["light", "dark"] as const)("is accessible, %s", async (colorScheme) => {
    const page = await open(newUser(), { colorScheme });
    await logInElsewhere(page, 2);
    await press(page, "Log out Firefox on Android");
    await see(answers(device(page, "Firefox"))).toBe(OUT);
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await smallTexts(page)).toEqual([]);
  });

  test.each([{ width: 360 }, { width: 820 }, { width: 1280 }])(
    "overflows no window of $width px",
    async ({ width }) => {
      const page = await open(newUser(), { viewport: { width, height: 800 }, colorScheme: "light" });
      await logInElsewhere(page, 1);
      await see(answers(devices(page).first())).toBe(IN);
      expect(await widthOf(page)).toBeLessThanOrEqual(width);
      expect(await coloursOf(page)).toEqual(LIGHT);
    },
  );
});
