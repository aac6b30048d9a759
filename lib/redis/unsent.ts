import type { CommandBatch } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import type { BatchBuilder } from "./topology.ts";

/** The arguments of a command, as node-redis's batches keep them. */
type CommandArguments = unknown[] & { preserve?: unknown };

/** A batch, as commands are added to it. A Sentinel client's is given a flag before the arguments. */
interface Adding {
  addCommand(...given: unknown[]): unknown;
}

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
  const adding = batch as unknown as Adding;
  const { addCommand } = adding;
  let first: FirstArguments | undefined;
  adding.addCommand = (...given: unknown[]) => {
    const index = indexOfArguments(given);
    const args = given[index] as CommandArguments | PartArguments;
    if (args instanceof PartArguments) return addCommand.apply(batch, given);
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

/** Commands that are sent together with others', and have a deadline of their own. */
export interface BatchPart {
  readonly deadline: Deadline;
  /** Adds the commands, the first of which names a key. */
  readonly build: BatchBuilder;
  /** How many commands it has; known once they are added. */
  commands: number;
  /** Whether its deadline had passed when it was to be sent. */
  isDropped: boolean;
}

/**
 * Adds the commands of several parts to a batch. A part whose deadline passes before node-redis writes its first command is
 * dropped from the batch: where its commands would be are some that only read, since the number of commands is fixed.
 * @returns the batch
 */
export function addEach(parts: readonly BatchPart[], batch: CommandBatch): CommandBatch {
  const adding = batch as unknown as Adding;
  const { addCommand } = adding;
  for (const part of parts) {
    let first: PartArguments | undefined;
    part.commands = 0;
    adding.addCommand = (...given: unknown[]) => {
      const index = indexOfArguments(given);
      const args = new PartArguments(given[index] as CommandArguments, part, first);
      first ??= args;
      part.commands++;
      given[index] = args;
      return addCommand.apply(batch, given);
    };
    part.build(batch);
  }
  adding.addCommand = addCommand;
  return batch;
}

/** Arguments that become those of a PTTL if the part is dropped. Its first command decides for all. */
class PartArguments {
  [index: number]: unknown;
  readonly preserve: unknown;
  readonly #count: number;
  readonly #part: BatchPart;
  readonly #first: PartArguments | undefined;

  /** @param first undefined for the first command of its part */
  constructor(args: CommandArguments, part: BatchPart, first: PartArguments | undefined) {
    for (let i = 0; i < args.length; i++) this[i] = args[i];
    this.preserve = args.preserve;
    this.#count = args.length;
    this.#part = part;
    this.#first = first;
  }

  get length(): number {
    const part = this.#part;
    if (this.#first === undefined) part.isDropped = part.deadline.passed;
    if (!part.isDropped) return this.#count;
    this[1] = (this.#first ?? this)[1];
    this[0] = "PTTL";
    return 2;
  }
}

Object.setPrototypeOf(PartArguments.prototype, Array.prototype);

function indexOfArguments(given: readonly unknown[]): number {
  return typeof given[0] === "object" ? 0 : 1;
}
