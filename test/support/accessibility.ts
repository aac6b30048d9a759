import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

const FINISH_FADING = `for (const animation of document.getAnimations()) {
  if (animation.effect.getKeyframes().some((frame) => "opacity" in frame)) animation.finish();
}`;

/**
 * What axe finds against WCAG 2.2, levels A and AA, as it is now: contrast, accessible names, roles.
 * @param except rules that do not count
 */
export async function accessibilityFaults(page: Page, except: readonly string[] = []): Promise<string[]> {
  // What is fading in has less contrast for a moment, and there is always something while traffic flows.
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.evaluate(FINISH_FADING);
  await page.evaluate(AXE);
  const rules = Object.fromEntries(except.map((rule) => [rule, { enabled: false }]));
  // Of what passes, which is hundreds of elements, nobody asks for the selectors.
  const options = JSON.stringify({ runOnly: STANDARD, rules, resultTypes: ["violations"] });
  const { violations } = (await page.evaluate(`axe.run(${options})`)) as AxeResults;
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary = "" }) => `${id}: ${target.join(" ")}: ${failureSummary}`),
  );
}
