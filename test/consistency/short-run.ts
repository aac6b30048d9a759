import { expect } from "vitest";
import { check } from "./check.ts";
import { parseOptions } from "./options.ts";
import { printSummary } from "./report.ts";

/** The lease is the guarantee; the allowance is for a machine that does much else at the same time. */
export const SHORT: readonly string[] = ["--seconds", "16", "--rate", "100", "--allowance", "250"];

/** Runs the checker in this process, which has loaded it already. @returns what it prints */
export async function checkShortly(args: string): Promise<string> {
  const options = parseOptions([...SHORT, ...args.split(" ")]);
  const lines: string[] = [];
  const { summary, violations } = await check(options, (line) => lines.push(line));
  return [...lines, ...violations, printSummary(summary, options)].join("\n");
}

export function expectNoViolation(output: string): void {
  expect(output).not.toContain("✗");
  expect(output).toContain("✓ the checker's record of Redis is what Redis holds");
}
