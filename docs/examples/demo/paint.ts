import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Node 20's `styleText` does not ask itself whether anybody sees colors. */
const isPainted = process.stdout.isTTY && !process.env["NO_COLOR"];

function painter(style: Style): (text: string) => string {
  return isPainted ? (text) => styleText(style, text) : (text) => text;
}

export const bold = painter("bold");
export const dim = painter("dim");
export const red = painter("red");
export const green = painter("green");
export const yellow = painter("yellow");
