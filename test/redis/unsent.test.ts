import { createClient } from "redis";
import { expect, test } from "vitest";
import type { CommandBatch } from "../../lib/redis/client.ts";
import { Deadline } from "../../lib/redis/deadlines.ts";
import { buildUntil } from "../../lib/redis/unsent.ts";
import { addMembers, type GroupedWrite } from "../../lib/redis/write-groups.ts";

/** A batch of node-redis, and the arguments of the commands that are added to it, as it keeps them. */
function newBatch() {
  const batch = createClient().multi() as unknown as CommandBatch & { addCommand(args: unknown[]): unknown };
  const { addCommand } = batch;
  const commands: unknown[][] = [];
  batch.addCommand = (args, ...rest: []) => {
    commands.push(args);
    return addCommand.call(batch, args, ...rest);
  };
  return { batch, commands };
}

const build = (batch: CommandBatch) => batch.set("key", "text", {}).publish("channel", "message");

function namesOf(commands: readonly unknown[][]): unknown[] {
  return commands.map(([name]) => name);
}

test("a batch whose first command is read after the deadline cannot be read at all", () => {
  const { batch, commands } = newBatch();
  const deadline = new Deadline();
  buildUntil(deadline, batch, build);
  expect(namesOf(commands)).toEqual(["SET", "PUBLISH"]);
  deadline.pass();
  expect(() => commands[0]?.[0]).toThrow("It took too long to be sent");
  expect(commands[1]?.[0]).toBeUndefined();
});

test("a batch whose first command was read before the deadline stays whole", () => {
  const { batch, commands } = newBatch();
  const deadline = new Deadline();
  buildUntil(deadline, batch, build);
  expect(commands[0]?.[0]).toBe("SET");
  deadline.pass();
  expect(commands[1]).toEqual(["PUBLISH", "channel", "message"]);
});

test("a batch that is built after its deadline is dropped, too", () => {
  const { batch, commands } = newBatch();
  const deadline = new Deadline();
  deadline.pass();
  buildUntil(deadline, batch, build);
  expect(() => commands[0]?.[0]).toThrow("It took too long to be sent");
});

test("a part that is read after its deadline only reads; the others stay, and so does their number", () => {
  const { batch, commands } = newBatch();
  const ignore = () => {};
  const writes: GroupedWrite[] = [new Deadline(), new Deadline()].map((deadline) => {
    return { deadline, build, bytes: 4, onReplies: ignore, onError: ignore };
  });
  const parts = addMembers(writes, batch);
  writes[1]?.deadline.pass();
  expect(parts.map(({ isDropped }) => isDropped)).toEqual([false, false]);
  expect(namesOf(commands)).toEqual(["SET", "PUBLISH", "PTTL", "PTTL"]);
  expect(commands[2]?.slice(1)).toEqual(["key"]);
  expect(commands[3]).toEqual(["PTTL", "key"]);
  expect(parts.map(({ isDropped }) => isDropped)).toEqual([false, true]);
  expect(parts.map(({ commands }) => commands)).toEqual([2, 2]);
});

test("the deadline of an operation that has ended keeps nothing of what was sent", () => {
  const { batch, commands } = newBatch();
  const deadline = new Deadline();
  buildUntil(deadline, batch, build);
  deadline.end();
  deadline.pass();
  expect(namesOf(commands)).toEqual(["SET", "PUBLISH"]);
});
