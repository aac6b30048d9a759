import { bar, line, text, writeSvg } from "./svg.ts";

/** Parts of each second, from below: one number for each kind. */
export interface Strip {
  readonly label: string;
  readonly stacks: readonly (readonly number[])[];
}

export interface StripGroup {
  readonly title: string;
  /** The seconds in which something was wrong. */
  readonly from: number;
  readonly to: number;
  readonly strips: readonly Strip[];
}

const WIDTH = 760;
const LEFT = 150;
const RIGHT = 20;
const HEAD = 76;
const STRIP = 44;
const GAP = 12;
const GROUP_HEAD = 34;
const KINDS = ["ours", "other", "third"] as const;

/** For each group a strip of stacked bars per contender, all over the same seconds. @param legend names the kinds */
export function drawStrips(
  name: string,
  title: string,
  subtitle: string,
  legend: readonly string[],
  groups: readonly StripGroup[],
): void {
  const parts = [text(16, 26, title, "title"), text(16, 46, subtitle, "small")];
  let x = 16;
  for (const [i, words] of legend.entries()) {
    parts.push(bar(x, 56, 12, 12, KINDS[i] ?? "other"), text(x + 18, 66, words, "small"));
    x += 40 + words.length * 7;
  }
  let y = HEAD;
  for (const { title: what, from, to, strips } of groups) {
    parts.push(text(16, y + 22, what));
    y += GROUP_HEAD;
    const seconds = Math.max(...strips.map(({ stacks }) => stacks.length));
    const step = (WIDTH - LEFT - RIGHT) / seconds;
    for (const { label, stacks } of strips) {
      parts.push(text(LEFT - 8, y + STRIP / 2 + 4, label, "small", "end"));
      for (const [second, stack] of stacks.entries()) {
        const total = stack.reduce((sum, value) => sum + value, 0);
        let bottom = y + STRIP;
        for (const [i, value] of stack.entries()) {
          const height = total === 0 ? 0 : (value / total) * STRIP;
          bottom -= height;
          if (height > 0)
            parts.push(bar(LEFT + second * step, bottom, step - 1, height, KINDS[i] ?? "other"));
        }
      }
      y += STRIP + GAP;
    }
    for (const at of [from, to]) {
      const mark = LEFT + at * step - 0.5;
      parts.push(line(mark, y - strips.length * (STRIP + GAP), mark, y - GAP, "axis"));
      parts.push(text(mark, y + 2, `${at} s`, "small", "middle"));
    }
    y += 8;
  }
  writeSvg(name, title, WIDTH, y + 12, parts);
}
