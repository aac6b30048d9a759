import { type Spread, short } from "./statistics.ts";
import { bar, line, text, writeSvg } from "./svg.ts";

export interface Bar {
  readonly label: string;
  readonly value: Spread;
  readonly kind: "ours" | "other";
}

export interface BarGroup {
  readonly title: string;
  readonly bars: readonly Bar[];
}

const WIDTH = 760;
/** Of a label, as wide as fonts of 13 px have it. */
const CHARACTER = 7;
const VALUES = 130;
const BAR = 18;
const GAP = 6;
const HEAD = 56;
const GROUP_HEAD = 30;

/** Bars from left to right, shorter is better, each with its quartiles. Every group has its own scale. */
export function drawBars(
  name: string,
  title: string,
  subtitle: string,
  unit: string,
  groups: readonly BarGroup[],
): void {
  const labels = groups.flatMap(({ bars }) => bars.map(({ label }) => label.length));
  const left = 24 + CHARACTER * Math.max(...labels);
  const parts = [text(16, 26, title, "title"), text(16, 46, subtitle, "small")];
  let y = HEAD;
  for (const group of groups) {
    const longest = Math.max(...group.bars.map(({ value }) => value.high), 1e-9);
    const scale = (WIDTH - left - VALUES) / longest;
    parts.push(text(16, y + 20, group.title));
    y += GROUP_HEAD;
    for (const { label, value, kind } of group.bars) {
      const middle = y + BAR / 2;
      parts.push(text(left - 8, middle + 4, label, "", "end"));
      parts.push(bar(left, y, Math.max(1, value.median * scale), BAR, kind));
      parts.push(line(left + value.low * scale, middle, left + value.high * scale, middle, "spread"));
      const end = left + Math.max(value.high, value.median) * scale;
      parts.push(text(end + 8, middle + 4, `${short(value.median)} ${unit}`));
      y += BAR + GAP;
    }
    y += GAP;
  }
  writeSvg(name, title, WIDTH, y + 8, parts);
}
