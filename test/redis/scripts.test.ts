import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ADD_TO_INDEX, INDEX_ACL } from "../../lib/redis/index-commands.ts";
import * as scripts from "../../lib/redis/scripts.ts";

/** The commands that a Lua text calls, except the one that publishes: whoever sends the script knows whether it does. */
function commandsIn(lua: string): string[] {
  const called = [...lua.matchAll(/redis\.p?call\("(\w+)"/g)].map(([, name = ""]) => name.toLowerCase());
  return [...new Set(called)].filter((name) => name !== "publish").sort();
}

function permissionsIn(acl: string): string[] {
  return [...acl.matchAll(/\+(\w+)/g)].map(([, name = ""]) => name).sort();
}

const indexCommands = permissionsIn(INDEX_ACL);
const all = Object.entries(scripts);

test.each(all)("%s states the permissions that its commands need, and no others", (_, { source, acl }) => {
  // With an index, `SessionCommands` adds those of the index.
  const isIndexed = source.includes(ADD_TO_INDEX) || source.includes('"ZREM"');
  const needed = commandsIn(source).filter((name) => !(isIndexed && indexCommands.includes(name)));
  const stated = permissionsIn(acl).filter((name) => !indexCommands.includes(name));
  expect(stated).toEqual(needed);
});

test("the permissions of the index are those of the commands of its scripts", () => {
  const text = readFileSync(new URL("../../lib/redis/index-commands.ts", import.meta.url), "utf8");
  // One script asks when sessions expire, and says so.
  const called = commandsIn(text).filter((name) => name !== "pttl");
  expect(called).toEqual(indexCommands);
});

test("each script has its input above it", () => {
  const text = readFileSync(new URL("../../lib/redis/scripts.ts", import.meta.url), "utf8");
  const withoutInput = all
    .map(([name]) => name)
    .filter((name) => {
      const [comment = ""] = text
        .slice(0, text.indexOf(`export const ${name}:`))
        .split("/**")
        .slice(-1);
      return !/Input: /.test(comment);
    });
  expect(withoutInput).toEqual([]);
});
