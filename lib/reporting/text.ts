/** The longest label of a process, in characters. */
const MAX_LABEL_LENGTH = 256;

/** Whether a value can be shown in one line of a log or a terminal without changing anything else there. */
export function isLabel(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_LABEL_LENGTH && !UNPRINTABLE.test(value);
}

/** Control characters, lone surrogates, separators of lines and paragraphs. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\u2028\u2029]/u;

/** Whether V8 needs two bytes for each character. */
export function isTwoByte(text: string): boolean {
  return TWO_BYTE.test(text);
}

const TWO_BYTE = /[^\0-\xff]/;

/** The same string, which keeps no other alive: V8 keeps the string that another is a part of, and the parts of a joined one. */
export function standalone(text: string): string {
  const encoding = isTwoByte(text) ? "utf16le" : "latin1";
  return Buffer.from(text, encoding).toString(encoding);
}
