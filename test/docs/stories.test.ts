import { createRequire } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { type RedisServer, startRedis } from "../support/redis-server.ts";
import { type Block, type Page, pages } from "./markdown.ts";
import { begin, folderOf, play, readStory } from "./story.ts";

/** Pages keep to the default prefix, as their readers will: so they get a server of their own. */
let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis({ own: true });
});
afterAll(() => redis?.stop());

const all = pages();
const stories = all.flatMap((page) =>
  page.blocks
    .filter(({ language, flags }) => language === "sh" && flags.has("run"))
    .map((block) => [block.place, page, block, answersTo(block, page)] as const),
);

function answersTo(block: Block, { blocks }: Page): string[] {
  const next = blocks[blocks.indexOf(block) + 1];
  return next?.flags.has("answers") ? next.code.trim().split("\n") : [];
}

test.each(stories)(
  "%s goes as it says, with the programs of the page",
  async (_place, page, block, answers) => {
    const story = readStory(block.code, answers);
    expect(story.starts.length).toBeGreaterThan(0);
    expect(story.visits.length).toBeGreaterThan(2);
    // A reader who has copied all of it is left with no background job.
    expect(story.stops).toBe(story.starts.length);
    // Instead of `sleep`, the first call of each process waits until it listens.
    const first = new Map(story.visits.toReversed().map((visit) => [visit.url.port, visit]));
    expect([...first.values()].map(({ waits }) => waits)).not.toContain(false);
    const running = await begin(story, folderOf(page), redis.url);
    // From the beginning if need be: what another process has written is seen when its message is heard, and no earlier.
    await eventually(() => play(story, running));
    for (const { child, ended } of running.values()) {
      child.kill("SIGTERM");
      await ended;
    }
    // Workers included: each would go on answering.
    for (const { port } of running.values())
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
  },
);

test("every program that is run from a page is whole: no other is called by a file's name", () => {
  const started = stories.flatMap(([, page, { code }]) =>
    readStory(code).starts.map(({ file }) => `${page.path}: ${file}`),
  );
  expect(started.length).toBeGreaterThanOrEqual(5);
  const programs = all.flatMap(({ path, blocks }) =>
    blocks.flatMap(({ flags }) =>
      flags.get("file")?.endsWith(".mjs") ? [`${path}: ${flags.get("file")}`] : [],
    ),
  );
  expect([...new Set(started)].sort()).toEqual(programs.sort());
});

test("a story with a line that is not understood is refused", () => {
  expect(() => readStory("wget localhost:3001/")).toThrow("wget");
  expect(() => readStory("curl localhost:3001/    # views: 1")).toThrow();
  expect(() => readStory("curl localhost:3001/", ["views: 1", "views: 2"])).toThrow("more answers");
});

test("PM2 gives the processes more time than their shutdown takes", () => {
  const page = all.find(({ path }) => path === "docs/guides/deploying.md");
  const folder = folderOf(page ?? expect.fail("no such page"));
  const { apps } = createRequire(import.meta.url)(join(folder, "ecosystem.config.cjs"));
  expect(apps).toEqual([expect.objectContaining({ script: "server.mjs", exec_mode: "cluster" })]);
  expect(apps[0].kill_timeout).toBeGreaterThan(15_000);
});
