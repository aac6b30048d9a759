import { errorMessage } from "../reporting/errors.ts";
import type { CommandBatch } from "./client.ts";
import { Deadline } from "./deadlines.ts";
import type { Batch, BatchBuilder, Replies } from "./topology.ts";
import { keepCommands, whenWritten } from "./unsent.ts";

/** Limits of a group, since Redis serves nobody else while it executes one. A write that is larger is sent alone. */
const MAX_MEMBERS = 64;
const MAX_BYTES: number = 256 * 1024;

/** One write, and what becomes of it. */
export interface Member {
  readonly deadline: Deadline;
  /** Adds its commands, the first of which names its key. */
  readonly build: BatchBuilder;
  /** How many commands it has; known once they are added. */
  commands: number;
  /** Whether its deadline had passed when it was to be sent. */
  isDropped: boolean;
  /** Resolves with the replies to its own commands. */
  readonly resolve: (replies: Replies) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Group commit: writes that start in one turn of the event loop are sent as one transaction, which costs Redis and the client
 * less than one each.
 *
 * 1. Writes that start in one turn form a group, which is sent at the end of the turn, or when it is full. Only after a turn
 *    with a single write, the first is sent at once, so that one that is alone costs and waits no more than without groups.
 * 2. A member whose deadline passes before it is sent changes nothing in Redis; see `addMembers`.
 * 3. Each member has its own outcome: the replies to its own commands, or their error.
 * 4. If Redis refuses the transaction because an ACL denies a key or a channel, it has executed nothing, and each member is sent
 *    by itself. So it is if the keys have different slots: behind one client may be a Cluster of one primary, or a proxy of
 *    several; there are no groups from then on. Any other refusal would concern each.
 * 5. If the connection is lost, the outcome of all is unknown.
 *
 * Members never concern the same session, since the writes of one session wait for each other.
 */
export class WriteGroups {
  readonly #exchange: (deadline: Deadline, batch: Batch) => Promise<Replies>;
  /** Those that wait for the end of the turn; undefined before the first write of a turn. */
  #members: Member[] | undefined;
  #bytes = 0;
  /** How many writes this turn has had. */
  #writes = 0;
  /** Whether the turn before had several. */
  #isBusy = false;
  /** Whether Redis has refused a group since its keys have different slots. */
  #hasSlots = false;

  /** @param exchange sends a batch */
  constructor(exchange: (deadline: Deadline, batch: Batch) => Promise<Replies>) {
    this.#exchange = exchange;
  }

  /**
   * Sends a write. Fails with what the client or Redis throws.
   * @param build adds its commands, the first of which names its key
   * @param bytes roughly what it sends
   */
  send(deadline: Deadline, build: BatchBuilder, bytes: number): Promise<Replies> {
    if (this.#members === undefined) {
      this.#members = [];
      // If the first is sent at once, node-redis schedules its writing after this, so the group is written together with it.
      setImmediate(() => this.#endTurn());
    }
    this.#writes++;
    if (this.#writes === 1 && !this.#isBusy) return this.#exchange(deadline, asBatch(build));
    if (this.#members.length === MAX_MEMBERS || this.#bytes + bytes > MAX_BYTES) this.#flush();
    this.#bytes += bytes;
    return new Promise((resolve, reject) => {
      this.#members?.push({ deadline, build, resolve, reject, isDropped: false, commands: 0 });
    });
  }

  #endTurn(): void {
    this.#flush();
    this.#members = undefined;
    this.#isBusy = this.#writes > 1 && !this.#hasSlots;
    this.#writes = 0;
  }

  #flush(): void {
    const members = this.#members ?? [];
    this.#members = [];
    this.#bytes = 0;
    if (members.length > 1 && !this.#hasSlots) this.#sendTogether(members);
    else for (const member of members) this.#sendAlone(member);
  }

  #sendAlone({ deadline, build, resolve, reject }: Member): void {
    this.#exchange(deadline, asBatch(build)).then(resolve, reject);
  }

  #sendTogether(members: readonly Member[]): void {
    const group = asBatch((batch) => addMembers(members, batch));
    this.#exchange(new DeadlineOfGroup(members), group).then(
      ({ replies, sentAt }) => settle(members, replies, sentAt),
      (error: unknown) => {
        const { replies } = error as { replies?: readonly unknown[] };
        const reason = errorMessage(error);
        this.#hasSlots ||= CROSSES_SLOTS.test(reason);
        if (replies !== undefined) settle(members, replies, 0);
        else if (DENIED.test(reason) || CROSSES_SLOTS.test(reason))
          for (const member of members) this.#sendAlone(member);
        else for (const { reject } of members) reject(error);
      },
    );
  }
}

/** The deadline of a group, whose members are dropped one by one. */
class DeadlineOfGroup extends Deadline {
  readonly #members: readonly Member[];

  constructor(members: readonly Member[]) {
    super();
    this.#members = members;
  }

  override get passed(): boolean {
    return this.#members.every(({ deadline }) => deadline.passed);
  }

  override onPassed(): void {}
}

/**
 * Adds the commands of a group to a batch. A member whose deadline passes before node-redis writes its first command is dropped:
 * where its commands would be are some that only read, since the number of commands is fixed.
 * @returns the batch
 */
export function addMembers(members: readonly Member[], batch: CommandBatch): CommandBatch {
  const commands = keepCommands(batch);
  for (const member of members) {
    const from = commands.length;
    member.build(batch);
    const own = commands.slice(from);
    member.commands = own.length;
    member.deadline.onPassed(() => {
      const [first] = own as [unknown[]];
      // Changes nothing if it is written already.
      first.length = 2;
      whenWritten(own, (others) => {
        member.isDropped = true;
        for (const args of others) args.splice(0, args.length, "PTTL", first[1]);
        return "PTTL";
      });
    });
  }
  return batch;
}

function asBatch(build: BatchBuilder): Batch {
  // Of several keys, any will do where keys may be combined.
  return { target: "any", mode: "transaction", build };
}

/** While a command is queued. A client that may not use MULTI has had the others executed. */
const DENIED = /^NOPERM .*access (a|one of the) (key|channel)/;
const CROSSES_SLOTS = /^CROSSSLOT /;

function settle(members: readonly Member[], replies: readonly unknown[], sentAt: number): void {
  let from = 0;
  for (const { commands, isDropped, resolve, reject } of members) {
    const own = replies.slice(from, from + commands);
    from += commands;
    const failure = isDropped ? new Error("It took too long to be sent") : own.find(isError);
    if (failure === undefined) resolve({ replies: own, sentAt });
    else reject(failure);
  }
}

function isError(reply: unknown): boolean {
  return reply instanceof Error;
}
