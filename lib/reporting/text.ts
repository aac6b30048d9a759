/** `String.prototype.isWellFormed`, which TypeScript's library has only from ES2024 on. */
export function isWellFormed(text: string): boolean {
  return (text as string & { isWellFormed(): boolean }).isWellFormed();
}

/** Whether a label can be shown in one line of a log or a terminal without changing anything else there. */
export function isPrintable(text: string): boolean {
  return isWellFormed(text) && !/[\p{Cc}\u2028\u2029]/u.test(text);
}
