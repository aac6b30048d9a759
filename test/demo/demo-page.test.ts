import { once } from "node:events";
import { request } from "node:http";
import type { Browser, BrowserContextOptions, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFailed, onTestFinished, test } from "vitest";
import { accessibilityFaults } from "../support/accessibility.ts";
import { startChromium } from "../support/chromium.ts";
import { Demo, PATIENCE } from "../support/demo.ts";
import { coloursOf, DARK, LIGHT, openPage, press, see, smallTexts, widthOf } from "../support/demo-pages.ts";
import { freePort } from "../support/redis/free-port.ts";

const INSTALLING_MS = 600_000;
const NODES = [1, 2, 3] as const;
type NodeNumber = (typeof NODES)[number];

let browser: Browser;
let demo: Demo;
let origin: string;

beforeAll(async () => {
  browser = await startChromium();
  // Below the ports of outgoing connections: one of these could take it while the demo is started again.
  demo = new Demo({ ownRedis: true, port: await freePort() });
  origin = await demo.origin();
}, INSTALLING_MS);

afterAll(async () => {
  await browser?.close();
  // Not SIGKILL, or its Redis would stay.
  demo?.process.kill("SIGINT");
  await demo?.exitCode();
});

async function open(options: BrowserContextOptions = {}, at = origin): Promise<Page> {
  onTestFailed(() => undoFaults(at));
  const page = await openPage(browser, at, options);
  for (const number of NODES) await see(badge(page, number)).toBe("live");
  return page;
}

/** What a test that fails leaves behind must not fail the others, each after minutes. */
async function undoFaults(at: string): Promise<void> {
  const orders = NODES.flatMap((number) => ["kill", "start"].map((order) => `nodes/${number}/${order}`));
  // The traffic stops when its last request is answered.
  for (const order of ["redis/resume", ...orders, "traffic/stop"]) {
    await fetch(`${at}/page/${order}`, { method: "POST" });
  }
}

function node(page: Page, number: NodeNumber): Locator {
  return page.getByRole("article", { name: `node ${number}` });
}

function badge(page: Page, number: NodeNumber): Locator {
  return node(page, number).locator(".badge");
}

function chips(page: Page, number: NodeNumber): Locator {
  return node(page, number).getByRole("list", { name: "cached sessions" });
}

function last(page: Page, number: NodeNumber): Locator {
  return node(page, number).locator(".last");
}

async function figure(where: Page | Locator, selector: string): Promise<number> {
  return Number((await where.locator(selector).innerText()).replaceAll(",", ""));
}

/** Resolves when a dot of that kind begins to fly. */
function flies(page: Page, kind: "message" | "read"): Promise<unknown> {
  return page.evaluate(`new Promise((resolve) => {
    new MutationObserver((records) => {
      for (const { addedNodes } of records) {
        for (const dot of addedNodes) if (dot.classList.contains("${kind}")) resolve();
      }
    }).observe(document.querySelector("#sky"), { childList: true });
  })`);
}

/** Resolves when a figure becomes smaller, as it does when all are reset, however fast it grows again. */
function shrinks(page: Page, id: string): Promise<unknown> {
  return page.evaluate(`new Promise((resolve) => {
    const figure = document.querySelector("${id}");
    const read = () => Number(figure.textContent.replaceAll(",", ""));
    let before = read();
    new MutationObserver(() => {
      if (read() < before) resolve();
      before = read();
    }).observe(figure, { childList: true });
  })`);
}

/** What is counted, all at the same moment. */
async function totals(page: Page): Promise<Record<"saved" | "requests" | "there" | "here", number>> {
  return page.evaluate(`Object.fromEntries(["saved", "requests", "there", "here"].map((id) => {
    return [id, Number(document.getElementById(id).textContent.replaceAll(",", ""))];
  }))`);
}

/** The cache of a node holds this browser's own session. Chips of other tests' sessions may bear the same name. */
async function seeCached(page: Page, number: NodeNumber): Promise<void> {
  await expect.poll(() => chips(page, number).locator(".mine").count(), PATIENCE).toBe(1);
}

/** Logs in on a node. @returns who that is */
async function logIn(page: Page, number: NodeNumber): Promise<string> {
  const answered = page.waitForResponse(/\/login/);
  await press(page, `Log in on node ${number}`);
  const { user } = (await (await answered).json()) as { user: string };
  await seeCached(page, number);
  await see(last(page, number)).toMatch(new RegExp(`^POST /login, .*: ${user}\\n\\d+ commands`));
  return user;
}

/** Kills node 2, which is stopped while it has a request. @returns what the page says of that request */
async function killInRequest(page: Page): Promise<string> {
  const said = page.getByRole("log").getByText(/^POST \/theme\?\S+: /);
  const before = await said.count();
  const stats = await fetch(`${origin}/stats`, { headers: { "x-demo-node": "2" } });
  const { pid } = (await stats.json()) as { pid: number };
  // It answers nothing until it dies, however long the machine takes for the two clicks.
  process.kill(pid, "SIGSTOP");
  const sent = page.waitForRequest(/\/theme/);
  await press(page, "Change on node 2");
  await sent;
  await press(page, "Kill node 2");
  await expect.poll(() => said.count(), PATIENCE).toBe(before + 1);
  const newest = await said.first().innerText();
  await press(page, "Start node 2");
  await see(badge(page, 2)).toBe("live");
  return newest;
}

/** The picture in docs/examples/README.md. */
async function takePicture(page: Page): Promise<void> {
  await logIn(page, 1);
  await expect.poll(() => figure(page, "#saved"), PATIENCE).toBeGreaterThan(200);
  for (const number of [3, 2, 2] as const) {
    await press(page, `Read on node ${number}`);
    await see(last(page, number)).toContain(": ada");
  }
  await press(page, "Change on node 1");
  await page.mouse.move(0, 0);
  // Until the message is on its way from Redis to the other nodes.
  await page.waitForTimeout(750);
  const clip = { x: 0, y: 0, width: 1400, height: 900 };
  await page.screenshot({ path: "docs/images/demo.png", clip });
}

describe("the page of the demo", () => {
  test("says where it is", () => {
    expect(demo.output).toContain(`page   ${origin}/`);
  });

  test("shows what a session's life does to the memories of all nodes", async () => {
    const page = await open();
    const user = await logIn(page, 1);
    await see(chips(page, 1)).toContain(user);

    const fromRedis = flies(page, "read");
    await press(page, "Read on node 2");
    await see(last(page, 2)).toContain(`GET /me, miss: ${user}`);
    await see(chips(page, 2)).toContain(user);
    await fromRedis;

    const hits = await figure(node(page, 2), '[data-part="hits"]');
    await press(page, "Read on node 2");
    await see(last(page, 2)).toContain(`GET /me, hit: ${user}\n0 commands`);
    await see(node(page, 2).locator('[data-part="hits"]')).toBe(String(hits + 1));

    const message = flies(page, "message");
    await press(page, "Change on node 2");
    await see(last(page, 2)).toMatch(new RegExp(`POST /theme, hit: ${user}, \\w+`));
    await see(chips(page, 2)).toMatch(new RegExp(`${user}\\s*, \\w+`));
    await see(chips(page, 1)).not.toContain(user);
    await see(page.getByRole("log")).toMatch(/node 1\s+received from node 2: invalidate [0-9a-f]{6}/);
    await message;

    await press(page, "Log out on node 3");
    await see(last(page, 3)).toContain("POST /logout");
    for (const number of NODES) await see(chips(page, number)).not.toContain(user);
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain("GET /me, miss: nobody");
  });

  test("shows all viewers the same, and each which session is its own", async () => {
    const [one, other] = [await open(), await open()];
    const user = await logIn(one, 3);
    await see(chips(other, 3)).toContain(user);
    await expect.poll(() => chips(one, 3).locator(".mine").count(), PATIENCE).toBe(1);
    expect(await chips(other, 3).locator(".mine").count()).toBe(0);
    await press(one, "Log out on node 3");
    await see(chips(other, 3)).not.toContain(user);
  });

  test("cuts a node's subscriber: that node asks Redis, until it hears again", async () => {
    const page = await open();
    const user = await logIn(page, 1);
    await press(page, "Cut subscriber of node 1");
    await see(badge(page, 1)).toBe("suspect");
    await see(chips(page, 1)).toBe("");
    await see(page.getByRole("log")).toMatch(/node 1\s+is suspect/);
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain(`GET /me, bypass: ${user}`);
    expect(await chips(page, 1).innerText()).toBe("");

    await press(page, "Reconnect node 1");
    await see(badge(page, 1)).toBe("live");
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain(`GET /me, miss: ${user}`);
    await see(chips(page, 1)).toContain(user);
  });

  test("kills a node and starts it again: the sessions are still there", async () => {
    const page = await open();
    const user = await logIn(page, 3);
    await press(page, "Kill node 3");
    await see(badge(page, 3)).toBe("down");
    await see(page.getByRole("log")).toMatch(/node 3\s+was ended by SIGKILL/);
    await see(last(page, 3)).toBe("");
    expect(await node(page, 3).getByRole("button", { name: "Read on node 3" }).isDisabled()).toBe(true);
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain(`GET /me, miss: ${user}`);

    await press(page, "Start node 3");
    await see(badge(page, 3)).toBe("live");
    await press(page, "Read on node 3");
    await see(last(page, 3)).toContain(`GET /me, miss: ${user}`);
  });

  test("pauses Redis: what is in memory is served for a lease, all else fails, until Redis goes on", async () => {
    const page = await open();
    const user = await logIn(page, 1);
    const stopped = page.waitForResponse(/redis\/pause/);
    await press(page, "Stop Redis");
    await stopped;
    // At once: the lease does not wait until the page shows it.
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain(`GET /me, hit: ${user}`);
    await see(page.locator("#redis")).toContain("answers nothing");
    await press(page, "Change on node 1");
    await see(last(page, 1)).toMatch(/^POST \/theme, error 503: this needs Redis\n\w/);
    await see(badge(page, 1)).toBe("suspect");

    await press(page, "Resume Redis");
    await see(badge(page, 1)).toBe("live");
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain(`GET /me, miss: ${user}`);
  });

  test("an outage, with staleIfErrorMs on node 3 and without it on node 1", async () => {
    const page = await open();
    await see(node(page, 3)).toContain("staleIfErrorMs 60 s");
    expect(await node(page, 1).innerText()).not.toContain("staleIfErrorMs");
    const user = await logIn(page, 1);
    await press(page, "Read on node 3");
    await see(last(page, 3)).toContain(`GET /me, miss: ${user}`);
    await press(page, "Stop Redis");
    for (const number of [1, 3] as const) await see(badge(page, number)).toBe("suspect");
    await press(page, "Read on node 3");
    await see(last(page, 3)).toContain(`GET /me, stale: ${user}`);
    await press(page, "Read on node 1");
    await see(last(page, 1)).toContain("GET /me, error 503");

    await press(page, "Resume Redis");
    for (const number of NODES) await see(badge(page, number)).toBe("live");
    await press(page, "Read on node 3");
    await see(last(page, 3)).toContain(`GET /me, miss: ${user}`);
  });

  test("says so when a node dies in the middle of a request", async () => {
    const page = await open();
    await logIn(page, 2);
    // The order goes over another connection than the request, and may overtake it: then the node is down already.
    await expect
      .poll(() => killInRequest(page), PATIENCE)
      .toMatch(/^POST \/theme\S+: (socket hang up|read ECONNRESET)$/);
  });

  test("sends traffic, and counts the requests that it saves, until it is reset", async () => {
    const page = await open({ viewport: { width: 1400, height: 900 } });
    await press(page, "Send traffic");
    for (const number of NODES) {
      const hits = await figure(node(page, number), '[data-part="hits"]');
      await expect
        .poll(() => figure(node(page, number), '[data-part="hits"]'), PATIENCE)
        .toBeGreaterThan(hits + 5);
    }
    // The click only asks for it, so what is large may still be the old count.
    const reset = shrinks(page, "#there");
    await press(page, "Reset");
    await reset;
    // The visitors act at random, so it takes as long as it takes.
    const pays = async () => {
      const { saved, requests, there, here } = await totals(page);
      return there > 100 && saved > 0.5 * requests && here < there;
    };
    await expect.poll(pays, PATIENCE).toBe(true);
    if (process.env["UPDATE_SCREENSHOT"]) await takePicture(page);
    await press(page, "Stop traffic");
    await page.getByRole("button", { name: "Send traffic" }).waitFor();
    const { saved, requests } = await totals(page);
    expect(saved).toBeGreaterThan(0);
    expect(saved).toBeLessThan(requests);

    await press(page, "Reset");
    await expect.poll(() => figure(page, "#there"), PATIENCE).toBe(0);
  });

  test("begins at nothing saved, and heartbeats do not change that", async () => {
    const page = await open();
    await press(page, "Reset");
    await see(page.locator("#requests")).toBe("0");
    await expect.poll(() => figure(page, "#background"), PATIENCE).toBeGreaterThan(3);
    expect(await totals(page)).toEqual({ saved: 0, requests: 0, there: 0, here: 0 });
    await logIn(page, 1);
    await press(page, "Read on node 1");
    await see(page.locator("#saved")).toBe("1");
    expect(await figure(page, "#requests")).toBe(2);
  });

  test("guides through five steps, and checks what is done", async () => {
    const page = await open();
    const steps = page.getByRole("navigation", { name: "Try this" }).getByRole("listitem");
    const current = page.locator("[aria-current=step]");
    await see(current).toContain("Log in on node 1");
    // Another node's login is not this step.
    await logIn(page, 2);
    await see(current).toContain("Log in on node 1");
    await logIn(page, 1);
    await see(current).toContain("Read on node 2");
    await press(page, "Read on node 2");
    await see(current).toContain("Log out on node 3");
    await press(page, "Log out on node 3");
    await see(current).toContain("Cut a subscriber");
    await press(page, "Cut subscriber of node 3");
    await see(current).toContain("Stop Redis");
    await see(badge(page, 3)).toBe("suspect");
    await press(page, "Stop Redis");
    expect(await steps.count()).toBe(5);
    await expect.poll(() => page.locator("#steps > [data-done=true]").count(), PATIENCE).toBe(5);
    expect(await current.count()).toBe(0);
    await press(page, "Resume Redis");
    await press(page, "Reconnect node 3");
    await see(badge(page, 3)).toBe("live");
  });

  test("shows the lease that is in use, and what a state means", async () => {
    const page = await open();
    await see(node(page, 1).locator('[data-part="left"]')).toMatch(/^lease \d+\.\d of 10 s$/);
    expect(await badge(page, 1).getAttribute("title")).toBe("Heartbeats return: the cache is in use.");
  });

  const LOOKS = [
    ["in the light", { viewport: { width: 1400, height: 900 }, colorScheme: "light" }],
    ["in the dark", { viewport: { width: 1400, height: 900 }, colorScheme: "dark" }],
    ["on a phone", { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true }],
  ] as const;

  test.each(LOOKS)("is accessible %s, also with faults and under the pointer", async (_look, options) => {
    const page = await open(options);
    await logIn(page, 1);
    await press(page, "Send traffic");
    await page.getByRole("button", { name: "Stop traffic" }).hover();
    expect(await accessibilityFaults(page)).toEqual([]);
    await press(page, "Stop traffic");
    await press(page, "Cut subscriber of node 2");
    await see(badge(page, 2)).toBe("suspect");
    await press(page, "Stop Redis");
    await see(page.locator("#redis")).toContain("answers nothing");
    expect(await accessibilityFaults(page)).toEqual([]);
    expect(await smallTexts(page)).toEqual([]);
    await press(page, "Resume Redis");
    await press(page, "Reconnect node 2");
    await see(badge(page, 2)).toBe("live");
  });

  test.each(LOOKS)("shows the event log without scrolling %s", async (_look, options) => {
    const page = await open(options);
    const box = await page.getByRole("log").boundingBox();
    expect(box?.y).toBeGreaterThan(0);
    // At least three lines of it.
    expect((box?.y ?? 0) + 60).toBeLessThan(options.viewport.height);
  });

  test("the names of all buttons differ", async () => {
    const page = await open();
    const names = (await page.evaluate(
      "[...document.querySelectorAll('button')].map((it) => it.ariaLabel ?? it.textContent)",
    )) as string[];
    expect(names).toHaveLength(3 * 6 + 3);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each([{ width: 360 }, { width: 820 }, { width: 1280 }])(
    "overflows no window of $width px",
    async ({ width }) => {
      const page = await open({ viewport: { width, height: 800 } });
      await logIn(page, 2);
      expect(await widthOf(page)).toBeLessThanOrEqual(width);
    },
  );

  test("is dark where the dark is preferred", async () => {
    const colours = await Promise.all(
      (["light", "dark"] as const).map(async (colorScheme) => {
        const page = await open({ colorScheme });
        return coloursOf(page);
      }),
    );
    expect(colours).toEqual([LIGHT, DARK]);
  });

  test("lets nothing fly for those who want less motion", async () => {
    const page = await open({ reducedMotion: "reduce" });
    let hasFlown = false;
    void flies(page, "message").then(
      () => {
        hasFlown = true;
      },
      () => {},
    );
    await logIn(page, 1);
    await press(page, "Read on node 2");
    await seeCached(page, 2);
    await press(page, "Change on node 1");
    await see(page.getByRole("log")).toMatch(/node 2\s+received from node 1/);
    expect(hasFlown).toBe(false);
  });

  test("takes no orders from other pages, and answers to no other name", async () => {
    const foreign = { origin: "https://example.org" };
    expect(await statusOf("/page/nodes/1/kill", "POST", foreign)).toBe(403);
    expect(await statusOf("/page/nodes/1/kill", "POST", { host: "example.org" })).toBe(403);
    expect(await statusOf("/", "GET", { host: "example.org" })).toBe(403);
    expect(await statusOf("/page/nodes/4/kill", "POST")).toBe(409);
    expect(await statusOf("/page/..%2fmain.ts", "GET")).toBe(404);
    const page = await open();
    expect(await badge(page, 1).innerText()).toBe("live");
  });

  test("says that the demo is gone, and is there again when the demo is", async () => {
    const page = await open();
    const { port } = new URL(origin);
    demo.process.kill("SIGINT");
    expect(await demo.exitCode(), demo.output).toBe(0);
    await see(page.locator("#link")).toContain("does not answer");
    demo = new Demo({ ownRedis: true, port: Number(port) });
    expect(await demo.origin()).toBe(origin);
    await see(page.locator("#link")).toBe("connected");
    await logIn(page, 1);
  });
});

test("the page leaves a Redis that the demo has not started alone, and says why", async () => {
  const guest = new Demo();
  onTestFinished(async () => {
    guest.process.kill("SIGKILL");
    await guest.exitCode();
  });
  const at = await guest.origin();
  const page = await open({}, at);
  expect(await page.getByRole("button", { name: "Stop Redis" }).isDisabled()).toBe(true);
  await see(page.locator("#redis")).toContain("the demo has not started it");
  const response = await fetch(`${at}/page/redis/pause`, { method: "POST" });
  expect(response.status).toBe(409);

  // This concerns connections of the demo's own.
  await press(page, "Cut subscriber of node 2");
  await see(badge(page, 2)).toBe("suspect");
  await press(page, "Reconnect node 2");
  await see(badge(page, 2)).toBe("live");
});

async function statusOf(path: string, method: string, headers: Record<string, string> = {}): Promise<number> {
  const { hostname, port } = new URL(origin);
  const asked = request({ hostname, port, path, method, headers }).end();
  const [response] = await once(asked, "response");
  response.resume();
  return response.statusCode;
}
