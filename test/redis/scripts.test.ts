import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import type { Script } from "../../lib/redis/script.ts";
import * as lua from "../../lib/redis/scripts.ts";

/** The commands that a Lua text calls, except the one that publishes: whoever sends the script knows whether it does. */
function commandsIn(lua: string): string[] {
  const called = [...lua.matchAll(/redis\.p?call\("(\w+)"/g)].map(([, name = ""]) => name.toLowerCase());
  return [...new Set(called)].filter((name) => name !== "publish").sort();
}

function permissionsIn(acl: string): string[] {
  return [...acl.matchAll(/\+(\w+)/g)].map(([, name = ""]) => name).sort();
}

const indexCommands = permissionsIn(lua.INDEX_ACL);
const all = Object.entries(lua).filter((entry): entry is [string, Script] => typeof entry[1] === "object");

test.each(all)("%s states the permissions that its commands need, and no others", (_, { source, acl }) => {
  // With an index, `SessionCommands` adds those of the index.
  const isIndexed = source.includes(lua.ADD_TO_INDEX) || source.includes('"ZREM"');
  const needed = commandsIn(source).filter((name) => !(isIndexed && indexCommands.includes(name)));
  const stated = permissionsIn(acl).filter((name) => !indexCommands.includes(name));
  expect(stated).toEqual(needed);
});

test("the permissions of the index are those of the commands of its scripts", () => {
  const { ADD_INDEX_ENTRY, LIST_INDEX, REMOVE_LISTED, REMOVE_OUTDATED } = lua;
  const sources = [ADD_INDEX_ENTRY, LIST_INDEX, REMOVE_LISTED, REMOVE_OUTDATED].map(({ source }) => source);
  // One of them asks whether sessions exist, and says so.
  expect(commandsIn(sources.join()).filter((name) => name !== "pttl")).toEqual(indexCommands);
});

test("each script has its input and output above it", () => {
  const text = readFileSync(new URL("../../lib/redis/scripts.ts", import.meta.url), "utf8");
  const undocumented = all
    .map(([name]) => name)
    .filter((name) => {
      const [comment = ""] = text
        .slice(0, text.indexOf(`export const ${name}:`))
        .split("/**")
        .slice(-1);
      return !/Input: .*Output[:,] /s.test(comment);
    });
  expect(undocumented).toEqual([]);
});
