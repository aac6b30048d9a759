import type { CommandBatch } from "./client.ts";
import { Deadline } from "./deadlines.ts";
import type { Batch, BatchBuilder } from "./topology.ts";

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
export class DeadlineOfParts extends Deadline {
  readonly #parts: readonly BatchPart[];

  constructor(parts: readonly BatchPart[]) {
    super();
    this.#parts = parts;
  }

  override get passed(): boolean {
    return this.#parts.every(({ deadline }) => deadline.passed);
  }
}

/**
 * Sends a batch, if node-redis writes it before its deadline; see `buildUntil`.
 * @param commands those of a client, none yet
 * @returns the replies
 */
export function execute(deadline: Deadline, commands: CommandBatch, batch: Batch): Promise<unknown[]> {
  batch.sentAt = performance.now();
  if (deadline instanceof DeadlineOfParts) batch.build(commands);
  else buildUntil(deadline, commands, batch.build);
  return batch.mode === "transaction" ? commands.exec() : commands.execAsPipeline();
}

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
      // node-redis can encode neither.
      for (const args of others) args[0] = undefined;
      throw new Error("It took too long to be sent");
    });
  });
}

/**
 * Adds the commands of several parts to a batch. A part whose deadline passes before node-redis writes its first command is
 * dropped from the batch: where its commands would be are some that only read, since the number of commands is fixed.
 * @returns the batch
 */
export function addParts(parts: readonly BatchPart[], batch: CommandBatch): CommandBatch {
  const commands = keepCommands(batch);
  for (const part of parts) {
    const from = commands.length;
    part.build(batch);
    const own = commands.slice(from);
    part.commands = own.length;
    part.deadline.onPassed(() => {
      const [first] = own as [CommandArguments];
      // Changes nothing if it is written already.
      first.length = 2;
      whenWritten(own, (others) => {
        part.isDropped = true;
        for (const args of others) args.splice(0, args.length, "PTTL", first[1]);
        return "PTTL";
      });
    });
  }
  return batch;
}

/** @returns the arguments of each command that is added to a batch from now on */
function keepCommands(batch: CommandBatch): readonly CommandArguments[] {
  const keeping = batch as unknown as KeepingBatch;
  const commands: CommandArguments[] = [];
  keeping[KEPT] = { add: keeping.addCommand, commands };
  // The same function for all batches: V8 is slow with one that is another each time.
  keeping.addCommand = addAndKeep;
  return commands;
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
function whenWritten(
  [first, ...others]: readonly CommandArguments[],
  onRead: (others: readonly CommandArguments[]) => string,
): void {
  if (first !== undefined)
    Object.defineProperty(first, 0, { get: () => onRead(others), enumerable: true, configurable: true });
}
