import type { CommandBatch } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import type { BatchBuilder } from "./topology.ts";

/** The arguments of a command, as node-redis's batches keep them. */
type CommandArguments = unknown[];

/** Adds a command to a batch. A Sentinel client's is given a flag before the arguments. */
type AddCommand = (first: unknown, second?: unknown, third?: unknown) => unknown;

/** A batch that keeps the commands that are added to it. */
interface KeepingBatch {
  addCommand: AddCommand;
  [KEPT]: { readonly add: AddCommand; readonly commands: CommandArguments[] };
}

const KEPT = Symbol("commands");

/**
 * Adds commands to a batch that is dropped if node-redis has queued it, and not sent by its deadline, instead of being executed
 * later: node-redis reads a command's arguments only when it writes the command, and drops one whose arguments it cannot read.
 *
 * The first command decides for all, so that a batch is sent as a whole or not at all. Dropped from a transaction, its commands
 * leave an empty one.
 */
export function buildUntil(deadline: Deadline, batch: CommandBatch, build: BatchBuilder): void {
  const commands = keepCommands(batch);
  build(batch);
  deadline.onPassed(() => {
    whenWritten(commands, (others) => {
      for (const args of others) {
        // Those of a group may begin with a getter.
        args.length = 0;
        // node-redis cannot encode it.
        args.push(undefined);
      }
      throw new Error("It took too long to be sent");
    });
  });
}

/** @returns the arguments of each command that is added to a batch from the first call on */
export function keepCommands(batch: CommandBatch): readonly CommandArguments[] {
  const keeping = batch as unknown as KeepingBatch;
  if (!Object.hasOwn(keeping, KEPT)) {
    keeping[KEPT] = { add: keeping.addCommand, commands: [] };
    // The same function for all batches: V8 is slow with one that is another each time.
    keeping.addCommand = addAndKeep;
  }
  return keeping[KEPT].commands;
}

function addAndKeep(this: KeepingBatch, first: unknown, second: unknown, third: unknown): unknown {
  const { add, commands } = this[KEPT];
  commands.push((Array.isArray(first) ? first : second) as CommandArguments);
  return add.call(this, first, second, third);
}

/**
 * @param onRead called when node-redis reads the first of some commands to write it; not if it has written it already. It is given
 * the others, and returns the first's name
 */
export function whenWritten(
  [first, ...others]: readonly CommandArguments[],
  onRead: (others: readonly CommandArguments[]) => string,
): void {
  if (first !== undefined)
    Object.defineProperty(first, 0, { get: () => onRead(others), enumerable: true, configurable: true });
}
