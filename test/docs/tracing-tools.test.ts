import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, inject, test } from "vitest";
import { pages } from "./markdown.ts";

const PROGRAM = fileURLToPath(new URL("../support/redis-spans.ts", import.meta.url));
const SID = "the-id-of-a-session";
const CONTENT = "the-content";

/** The spans that the instrumentation makes, as text. */
async function spansWith(options: string): Promise<string> {
  const args = ["--import", "tsx", PROGRAM, inject("redisUrl"), SID, options];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return stdout;
}

test("OpenTelemetry's instrumentation of redis records ids and sessions by default, and with the documented option neither", async () => {
  const { text } = pages().find(({ path }) => path === "docs/guides/monitoring.md") ?? expect.fail("no page");
  const [, options = ""] = /new RedisInstrumentation\((.+)\);/.exec(text) ?? [];
  const [byDefault, documented] = [await spansWith("undefined"), await spansWith(options)];
  expect(byDefault).toContain(`GETRANGE sess:${SID} 0 67108864`);
  expect(byDefault).toContain(CONTENT);
  for (const command of ["GETRANGE", "EVALSHA"]) expect(documented).toContain(`"db.query.text":"${command}"`);
  for (const secret of [SID, CONTENT]) expect(documented).not.toContain(secret);
});
