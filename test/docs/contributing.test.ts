import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";
import { pages, ROOT } from "./markdown.ts";

const page = pages().find(({ path }) => path === "CONTRIBUTING.md") ?? expect.fail("no such page");
const commands = page.blocks
  .filter(({ language, flags }) => language === "sh" && flags.has("check"))
  .flatMap(({ code }) => code.trim().split("\n"));

test("there are commands for the first hour, among them one test", () => {
  expect(commands.length).toBeGreaterThan(3);
  expect(commands.some((command) => /^npx vitest run test\/\S+\.test\.ts$/.test(command))).toBe(true);
});

// As a newcomer's shell runs them, without what this test's own run has set.
const { PATH, HOME, TEST_REDIS, REDIS_URL } = process.env;

test.each(commands)("%s", { timeout: 300_000 }, (command) => {
  const env = { PATH, HOME, TEST_REDIS, REDIS_URL, NO_COLOR: "1" };
  // Throws unless the exit status is 0.
  const output = execFileSync("sh", ["-c", command], { cwd: ROOT, env, encoding: "utf8" });
  if (command.includes("vitest")) expect(output).toMatch(/Tests +[1-9]\d* passed/);
});
