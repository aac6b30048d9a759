import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { canInstall, install } from "./apt.ts";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
const ELSEWHERE = [
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
/** Playwright's own list: of several such options, Chromium takes the last. */
const DISABLED_BY_PLAYWRIGHT = [
  "AvoidUnnecessaryBeforeUnloadCheckSync",
  "DestroyProfileOnBrowserClose",
  "HttpsUpgrades",
  "HttpsFirstBalancedModeAutoEnable",
  "LensOverlay",
  "MediaRouter",
  "PaintHolding",
  "ThirdPartyStoragePartitioning",
  "AvoidCorsURLLoaderRestartOnRedirect",
  "TcpPortRandomizationWin",
  "OptimizationHints",
  "NetworkTimeServiceQuerying",
  "AimEnabled",
  "PreconnectToSearch",
];
/**
 * Two pages of Chromium's own in each window, in a process of their own, for an address bar that nobody sees. A window
 * took twice as much of the processor with them.
 */
const ADDRESS_BAR = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"];

/** It is to load what the test serves, and nothing of its own. */
const QUIET = [
  `--disable-features=${[...DISABLED_BY_PLAYWRIGHT, ...ADDRESS_BAR].join(",")}`,
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const START_LIMIT_MS = 120_000;

/**
 * A headless Chromium of this machine: the one at `CHROMIUM_PATH`, one on the PATH, or Debian's package, where we may
 * install it.
 */
export async function startChromium(): Promise<Browser> {
  let executablePath = found();
  if (executablePath === undefined && canInstall()) {
    console.log("No Chromium found: installing the package chromium with apt-get.");
    await install("chromium");
    executablePath = found();
  }
  if (executablePath === undefined) {
    throw new Error(
      "No Chromium to look at the demo's page with. Install Chromium or Chrome so that it is on the PATH " +
        "(Debian: apt-get install chromium), or set CHROMIUM_PATH to the program.",
    );
  }
  return chromium.launch({ executablePath, args: QUIET, timeout: START_LIMIT_MS });
}

function found(): string | undefined {
  const chosen = process.env["CHROMIUM_PATH"];
  if (chosen) return chosen;
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  const places = NAMES.flatMap((name) => folders.map((folder) => join(folder, name)));
  return [...places, ...ELSEWHERE].find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
