import { type Spread, short } from "./statistics.ts";
import { line, round, text, writeSvg } from "./svg.ts";

export interface Curve {
  readonly label: string;
  readonly kind: "ours" | "third" | "other";
  readonly points: readonly (readonly [x: number, y: Spread])[];
}

const WIDTH = 760;
const HEIGHT = 380;
const LEFT = 70;
const RIGHT = 190;
const TOP = 70;
const BOTTOM = 50;
const STEPS = 5;

/** Curves over a common x, both axes from 0, each point with its quartiles. */
export function drawCurves(
  name: string,
  title: string,
  axes: { readonly x: string; readonly y: string },
  curves: readonly Curve[],
): void {
  const all = curves.flatMap(({ points }) => points);
  const maxX = Math.max(...all.map(([x]) => x));
  const maxY = roundUp(Math.max(...all.map(([, { high }]) => high)));
  const atX = (x: number) => LEFT + (x / maxX) * (WIDTH - LEFT - RIGHT);
  const atY = (y: number) => HEIGHT - BOTTOM - (y / maxY) * (HEIGHT - TOP - BOTTOM);
  const parts = [text(16, 26, title, "title"), text(16, 48, axes.y, "small")];
  for (let step = 0; step <= STEPS; step++) {
    const y = (maxY * step) / STEPS;
    parts.push(line(LEFT, atY(y), WIDTH - RIGHT, atY(y), step === 0 ? "axis" : "grid"));
    parts.push(text(LEFT - 8, atY(y) + 4, short(y), "small", "end"));
  }
  for (const x of new Set(all.map(([x]) => x))) {
    parts.push(text(atX(x), HEIGHT - BOTTOM + 20, String(x), "small", "middle"));
  }
  parts.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, axes.x, "small", "middle"));
  for (const { label, kind, points } of curves) {
    const path = points.map(([x, { median }]) => `${round(atX(x))},${round(atY(median))}`).join(" ");
    parts.push(`<polyline points="${path}" class="${kind} line" style="fill:none"/>`);
    for (const [x, { low, median, high }] of points) {
      parts.push(line(atX(x), atY(low), atX(x), atY(high), "spread"));
      parts.push(`<circle cx="${round(atX(x))}" cy="${round(atY(median))}" r="3.5" class="${kind}"/>`);
    }
    const last = points.at(-1);
    if (last) parts.push(text(atX(last[0]) + 10, atY(last[1].median) + 4, label));
  }
  writeSvg(name, title, WIDTH, HEIGHT, parts);
}

function roundUp(value: number): number {
  const unit = 10 ** Math.floor(Math.log10(value));
  return Math.ceil((2 * value) / unit) * (unit / 2);
}
