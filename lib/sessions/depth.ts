/** The longest chain of objects and arrays in a session. Copying and comparing one that is deeper could overflow the stack. */
const MAX_DEPTH = 1_000;

/** What is said of a session that is deeper. */
export const TOO_DEEP: string = `it is nested more than ${MAX_DEPTH} levels deep`;

/** Whether what a JSON text says is nested too deeply. Most texts have so few brackets that only these are counted. */
export function isTooDeep(json: string): boolean {
  if (!hasBracketsFor(MAX_DEPTH + 1, json)) return false;
  let depth = 0;
  let isInString = false;
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '"') isInString = !isInString;
    else if (isInString) {
      // What it escapes may be a quote.
      if (char === "\\") i++;
    } else if (char === "{" || char === "[") {
      if (++depth > MAX_DEPTH) return true;
    } else if (char === "}" || char === "]") depth--;
  }
  return false;
}

/** Whether a text has as many opening brackets as a chain of `depth` objects and arrays needs. */
function hasBracketsFor(depth: number, text: string): boolean {
  // Each level takes two.
  if (text.length < 2 * depth) return false;
  let left = depth;
  for (const bracket of "{[")
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1))
      if (--left === 0) return true;
  return false;
}
