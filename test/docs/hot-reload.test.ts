import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { createClient } from "redis";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import type { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { linkPackages } from "../support/link-packages.ts";
import { directClient, ownRedis, whenLive } from "../support/node.ts";
import { pages } from "./markdown.ts";

/** The programs of the troubleshooting guide, executed again and again in one process, as hot reload does. */

const page = pages().find(({ path }) => path === "docs/guides/troubleshooting.md") ?? expect.fail("no page");
const programWith = (text: string) =>
  page.blocks.find(({ code }) => code.includes(text))?.code ?? expect.fail(`no program with ${text}`);
const kept = programWith("sessionStore ??=");
const withVite = programWith("import.meta.hot");

type Reloaded = { store: ClusteredRedisStore; dispose?: () => Promise<void> };

let url: string;
let connections: () => Promise<number>;
beforeEach(async () => {
  ({ url } = await ownRedis());
  const observer = await directClient({ url });
  connections = async () => (await observer.clientList()).length - 1;
});

/** Executes a module as often as it is imported. */
function reloading(code: string): () => Promise<Reloaded> {
  const folder = mkdtempSync(join(tmpdir(), "hot-reload-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  linkPackages(folder);
  const file = join(folder, "sessions.mjs");
  writeFileSync(file, code.replace("process.env.REDIS_URL", JSON.stringify(url)));
  let version = 0;
  return () => import(/* @vite-ignore */ `${pathToFileURL(file)}?version=${++version}`);
}

test("the store on globalThis is one store with two connections, however often the module is executed", async () => {
  const reload = reloading(`${kept}\nexport { store };`);
  const { store } = await reload();
  const { client } = store as unknown as { client: ReturnType<typeof createClient> };
  onTestFinished(async () => {
    await store.close();
    client.destroy();
    delete (globalThis as { sessionStore?: unknown }).sessionStore;
  });
  await whenLive(store);
  for (let i = 0; i < 3; i++) expect((await reload()).store).toBe(store);
  await eventually(async () => (await connections()) === 2);
});

test("what Vite disposes of leaves no connection", async () => {
  const reload = reloading(withVite.replace("import.meta.hot?.dispose(", "export const dispose = ("));
  for (let i = 0; i < 3; i++) {
    const { store, dispose } = await reload();
    await whenLive(store);
    await eventually(async () => (await connections()) === 2);
    await dispose?.();
    await eventually(async () => (await connections()) === 0);
  }
});
