import type { CommandBatch } from "./client.ts";
import type { Deadline } from "./deadlines.ts";

/** The arguments of a command, as node-redis's batches keep them. */
type CommandArguments = unknown[] & { preserve?: unknown };

/**
 * Drops a batch that has not been sent by its deadline, instead of executing it later.
 *
 * node-redis keeps commands in a queue while its socket accepts no more, or while it reconnects, and sends them whenever it
 * can: a write that was reported as failed a minute ago would overwrite a newer one. It offers no way to remove a batch. But
 * it reads a command's arguments only when it writes the command, and drops one whose arguments it cannot read.
 *
 * The first command decides for all, so that a batch is sent as a whole or not at all. Dropped from a transaction, its commands
 * leave an empty one.
 * @param batch a batch to which no command has been added. @returns the same
 */
export function droppedAt(deadline: Deadline, batch: CommandBatch): CommandBatch {
  const adding = batch as unknown as { addCommand(...given: unknown[]): unknown };
  const { addCommand } = adding;
  let first: FirstArguments | undefined;
  adding.addCommand = (...given: unknown[]) => {
    // A Sentinel client's batch is given a flag before them.
    const index = Array.isArray(given[0]) ? 0 : 1;
    const args = given[index] as CommandArguments;
    if (first === undefined) given[index] = first = new FirstArguments(args, deadline);
    else first.others.push(args);
    return addCommand.apply(batch, given);
  };
  return batch;
}

/**
 * Arguments that cannot be read after a deadline. They have an array's methods, for whoever traces commands, without being
 * one: an array with a getter is slow.
 */
class FirstArguments {
  [index: number]: unknown;
  readonly preserve: unknown;
  /** Those of the other commands of the batch. */
  readonly others: CommandArguments[] = [];
  readonly #count: number;
  readonly #deadline: Deadline;

  constructor(args: CommandArguments, deadline: Deadline) {
    for (let i = 0; i < args.length; i++) this[i] = args[i];
    this.preserve = args.preserve;
    this.#count = args.length;
    this.#deadline = deadline;
  }

  get length(): number {
    if (!this.#deadline.passed) return this.#count;
    // node-redis can encode neither.
    for (const args of this.others) args[0] = undefined;
    throw new Error("It took too long to be sent");
  }
}

Object.setPrototypeOf(FirstArguments.prototype, Array.prototype);
