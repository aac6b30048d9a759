import { mkdirSync, writeFileSync } from "node:fs";

const FOLDER = new URL("../../../docs/images/", import.meta.url);

/** The picture follows the reader's color scheme, and has a background, since the page around it may not. */
const STYLE = `
  .page { fill: #ffffff }
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .small { font-size: 12px; fill: #59636e }
  .axis { stroke: #59636e; stroke-width: 1 }
  .grid { stroke: #d1d9e0; stroke-width: 1 }
  .spread { stroke: #1f2328; stroke-width: 1.5 }
  .other { fill: #8c959f; stroke: #8c959f }
  .ours { fill: #0969da; stroke: #0969da }
  .third { fill: #bc4c00; stroke: #bc4c00 }
  .line { fill: none; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 }
    text { fill: #f0f6fc }
    .small { fill: #9198a1 }
    .axis { stroke: #9198a1 }
    .grid { stroke: #3d444d }
    .spread { stroke: #f0f6fc }
    .other { fill: #656c76; stroke: #656c76 }
    .ours { fill: #4493f8; stroke: #4493f8 }
    .third { fill: #db6d28; stroke: #db6d28 }
  }`;

export function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

export function text(x: number, y: number, words: string, kind = "", anchor = "start"): string {
  return `<text x="${round(x)}" y="${round(y)}" class="${kind}" text-anchor="${anchor}">${escaped(words)}</text>`;
}

export function line(x1: number, y1: number, x2: number, y2: number, kind: string): string {
  return `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${kind}"/>`;
}

export function bar(x: number, y: number, width: number, height: number, kind: string): string {
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" class="${kind}"/>`;
}

export function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** Writes `docs/images/bench-<name>.svg`. */
export function writeSvg(
  name: string,
  title: string,
  width: number,
  height: number,
  parts: readonly string[],
): void {
  mkdirSync(FOLDER, { recursive: true });
  const open = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`;
  const page = `<rect width="${width}" height="${height}" rx="8" class="page"/>`;
  const body = [`<title>${escaped(title)}</title>`, `<style>${STYLE}\n</style>`, page, ...parts];
  writeFileSync(new URL(`bench-${name}.svg`, FOLDER), `${open}\n${body.join("\n")}\n</svg>\n`);
  console.log(`Drawn: docs/images/bench-${name}.svg`);
}
