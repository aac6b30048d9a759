// Prints how large each entry of the package is, with all files that it loads, and the tarball. Needs `npm run build`.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";

const { name, exports } = JSON.parse(readFileSync("package.json", "utf8"));
const IMPORT = /(?:from|import) "(\.[^"]+)"/g;
const kb = (bytes) => `${(bytes / 1000).toFixed(1)} KB`;

/** A module, and the ones of the package that it imports, directly or not. */
function loadedBy(file, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  for (const [, to] of readFileSync(file, "utf8").matchAll(IMPORT)) loadedBy(join(dirname(file), to), found);
  return found;
}

console.log("| entry | files that it loads | JavaScript | gzipped |");
console.log("| --- | ---: | ---: | ---: |");
for (const [path, targets] of Object.entries(exports)) {
  const main = targets.import?.default;
  if (main === undefined) continue;
  const texts = [...loadedBy(main)].map((file) => readFileSync(file));
  const bytes = Buffer.concat(texts);
  const cells = [texts.length, kb(bytes.length), kb(gzipSync(bytes).length)];
  console.log(`| \`${name}${path.slice(1)}\` | ${cells.join(" | ")} |`);
}
const [{ size, unpackedSize }] = JSON.parse(
  execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    stdio: ["ignore", "pipe", "ignore"],
  }),
);
console.log(`\nThe tarball: ${kb(size)}, unpacked ${kb(unpackedSize)}.`);
