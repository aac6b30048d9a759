const isPainted = process.stdout.isTTY && !process.env["NO_COLOR"];

function painter(start: number, end: number): (text: string) => string {
  return isPainted ? (text) => `\u001b[${start}m${text}\u001b[${end}m` : (text) => text;
}

export const bold = painter(1, 22);
export const dim = painter(2, 22);
export const red = painter(31, 39);
export const green = painter(32, 39);
export const yellow = painter(33, 39);
