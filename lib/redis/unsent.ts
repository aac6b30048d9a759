import type { CommandBatch } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import type { BatchBuilder } from "./topology.ts";

/** The arguments of a command, as node-redis's batches keep them. */
type CommandArguments = unknown[] & { preserve?: unknown };

/** A batch, as commands are added to it. A Sentinel client's is given a flag before the arguments. */
interface Adding {
  addCommand(...given: unknown[]): unknown;
}

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

/** The deadline of a batch whose parts are dropped one by one. */
export class DeadlineOfParts implements Deadline {
  readonly #parts: readonly BatchPart[];

  constructor(parts: readonly BatchPart[]) {
    this.#parts = parts;
  }

  get passed(): boolean {
    return this.#parts.every(({ deadline }) => deadline.passed);
  }
}

/**
 * Drops a batch that node-redis has queued, and not sent by its deadline, instead of executing it later: node-redis reads a
 * command's arguments only when it writes the command, and drops one whose arguments it cannot read.
 *
 * The first command decides for all, so that a batch is sent as a whole or not at all. Dropped from a transaction, its commands
 * leave an empty one.
 * @param batch a batch to which no command has been added. @returns the same
 */
export function droppedAt(deadline: Deadline, batch: CommandBatch): CommandBatch {
  if (deadline instanceof DeadlineOfParts) return batch;
  letFirstDecide(batch)(deadline, (_, others) => {
    // node-redis can encode neither.
    for (const args of others) args[0] = undefined;
    throw new Error("It took too long to be sent");
  });
  return batch;
}

/**
 * Adds the commands of several parts to a batch. A part whose deadline passes before node-redis writes its first command is
 * dropped from the batch: where its commands would be are some that only read, since the number of commands is fixed.
 * @returns the batch
 */
export function addParts(parts: readonly BatchPart[], batch: CommandBatch): CommandBatch {
  const begin = letFirstDecide(batch);
  for (const part of parts) {
    const others = begin(part.deadline, (first, rest) => {
      part.isDropped = true;
      for (const args of rest) args.splice(0, args.length, "PTTL", first[1]);
      first[0] = "PTTL";
      return 2;
    });
    part.build(batch);
    part.commands = 1 + others.length;
  }
  return batch;
}

/** What becomes of commands whose deadline has passed. @returns how many arguments the first has now */
type OnLate = (first: FirstArguments, others: readonly CommandArguments[]) => number;

/**
 * @returns a function that has the first command that is added from then on decide for all that follow, when it is written. It
 * returns the others, as they are added
 */
function letFirstDecide(batch: CommandBatch): (deadline: Deadline, onLate: OnLate) => readonly unknown[] {
  const { addCommand } = batch as unknown as Adding;
  let others: CommandArguments[] = [];
  let replaceFirst: ((args: CommandArguments) => FirstArguments) | undefined;
  const value = (...given: unknown[]) => {
    // A Sentinel client's batch is given a flag before them.
    const index = Array.isArray(given[0]) ? 0 : 1;
    const args = given[index] as CommandArguments;
    if (replaceFirst === undefined) others.push(args);
    else given[index] = replaceFirst(args);
    replaceFirst = undefined;
    return addCommand.apply(batch, given);
  };
  // Not by assignment: with it the heap was observed to grow as batches were sent, and with defineProperty it was not.
  Object.defineProperty(batch, "addCommand", { value, configurable: true, writable: true });
  return (deadline, onLate) => {
    const rest: CommandArguments[] = [];
    others = rest;
    replaceFirst = (args) => new FirstArguments(args, rest, deadline, onLate);
    return rest;
  };
}

/**
 * Arguments whose number is asked for when they are written. They have an array's methods, for whoever traces commands, without
 * being one: an array with a getter is slow.
 */
class FirstArguments {
  [index: number]: unknown;
  readonly preserve: unknown;
  readonly #others: readonly CommandArguments[];
  readonly #count: number;
  readonly #deadline: Deadline;
  readonly #onLate: OnLate;

  constructor(
    args: CommandArguments,
    others: readonly CommandArguments[],
    deadline: Deadline,
    onLate: OnLate,
  ) {
    for (let i = 0; i < args.length; i++) this[i] = args[i];
    this.preserve = args.preserve;
    this.#count = args.length;
    this.#others = others;
    this.#deadline = deadline;
    this.#onLate = onLate;
  }

  get length(): number {
    return this.#deadline.passed ? this.#onLate(this, this.#others) : this.#count;
  }
}

Object.setPrototypeOf(FirstArguments.prototype, Array.prototype);
