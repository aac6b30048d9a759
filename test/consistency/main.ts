import { check } from "./check.ts";
import { type Options, parseOptions } from "./options.ts";
import { printSummary } from "./report.ts";

const MOST_SHOWN = 20;

let options: Options;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error((error as Error).message);
  process.exit(2);
}

const say = options.json ? console.error : console.log;
say(`seed ${options.seed}`);
const { summary, violations } = await check(options, say);
for (const violation of violations.slice(0, MOST_SHOWN)) say(`\n${violation}`);
if (violations.length > MOST_SHOWN) say(`… and ${violations.length - MOST_SHOWN} more`);
console.log(
  options.json
    ? JSON.stringify({ ...summary, violated: violations.length > 0 })
    : printSummary(summary, options),
);
process.exit(violations.length === 0 ? 0 : 1);
