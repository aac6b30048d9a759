import { errorMessage } from "../reporting/errors.ts";
import type { CommandBatch } from "./client.ts";
import { Deadline } from "./deadlines.ts";
import type { Batch, BatchBuilder, Topology } from "./topology.ts";
import { keepCommands, whenWritten } from "./unsent.ts";

/** Limits of a group. A write that is larger is sent alone. */
const MAX_MEMBERS = 64;
const MAX_BYTES: number = 256 * 1024;

/** A write to be sent, perhaps together with others. */
export interface GroupedWrite {
  readonly deadline: Deadline;
  /** Adds its commands, the first of which names its key. */
  readonly build: BatchBuilder;
  /** Roughly what it sends. */
  readonly bytes: number;
  /** Called with the replies to its own commands, unless `onError` is. Must not throw. */
  readonly onReplies: (replies: readonly unknown[]) => void;
  /** Called with what the client or Redis throws. Must not throw. */
  readonly onError: (error: unknown) => void;
}

/** One write of a group. */
export interface Member {
  readonly write: GroupedWrite;
  /** How many commands it has. */
  readonly commands: number;
  /** Whether its deadline had passed when it was to be sent. */
  isDropped: boolean;
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
  readonly #topology: Pick<Topology, "send">;
  /** Those that wait for the end of the turn. */
  #waiting: GroupedWrite[] = [];
  #bytes = 0;
  /** How many writes this turn has had. */
  #count = 0;
  /** Whether the turn before had several. */
  #isBusy = false;
  /** Whether Redis has refused a group since its keys have different slots. */
  #hasSlots = false;

  constructor(topology: Pick<Topology, "send">) {
    this.#topology = topology;
  }

  /** Sends a write. */
  send(write: GroupedWrite): void {
    // If the first is sent at once, node-redis schedules its writing after this, so the group is written together with it.
    if (this.#count === 0) setImmediate(() => this.#endTurn());
    this.#count++;
    if (this.#count === 1 && !this.#isBusy) {
      this.#sendAlone(write);
      return;
    }
    if (this.#waiting.length === MAX_MEMBERS || this.#bytes + write.bytes > MAX_BYTES) this.#flush();
    this.#bytes += write.bytes;
    this.#waiting.push(write);
  }

  #endTurn(): void {
    this.#flush();
    this.#isBusy = this.#count > 1 && !this.#hasSlots;
    this.#count = 0;
  }

  #flush(): void {
    const writes = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    if (writes.length > 1 && !this.#hasSlots) this.#sendTogether(writes);
    else for (const write of writes) this.#sendAlone(write);
  }

  #sendAlone({ deadline, build, onReplies, onError }: GroupedWrite): void {
    this.#topology.send(deadline, asBatch(build)).then(onReplies, onError);
  }

  #sendTogether(writes: readonly GroupedWrite[]): void {
    let members: readonly Member[] = [];
    const group = asBatch((batch) => {
      members = addMembers(writes, batch);
      return batch;
    });
    this.#topology.send(deadlineOf(writes), group).then(
      (replies) => settle(members, replies),
      (error: unknown) => {
        const { replies } = error as { replies?: readonly unknown[] };
        const reason = errorMessage(error);
        this.#hasSlots ||= CROSSES_SLOTS.test(reason);
        if (replies !== undefined) settle(members, replies);
        else if (DENIED.test(reason) || CROSSES_SLOTS.test(reason))
          for (const write of writes) this.#sendAlone(write);
        else for (const { onError } of writes) onError(error);
      },
    );
  }
}

/** The deadline of a group, which passes with the last one of its members. They are dropped one by one. */
function deadlineOf(writes: readonly GroupedWrite[]): Deadline {
  const ofGroup = new Deadline();
  let left = writes.length;
  const onPassed = () => {
    left--;
    if (left === 0) ofGroup.pass();
  };
  for (const { deadline } of writes) deadline.onPassed(onPassed);
  return ofGroup;
}

/**
 * Adds the commands of a group to a batch. A member whose deadline passes before node-redis writes its first command is dropped:
 * where its commands would be are some that only read, since the number of commands is fixed.
 */
export function addMembers(writes: readonly GroupedWrite[], batch: CommandBatch): Member[] {
  const commands = keepCommands(batch);
  return writes.map((write) => {
    const from = commands.length;
    write.build(batch);
    const own = commands.slice(from);
    const member: Member = { write, commands: own.length, isDropped: false };
    write.deadline.onPassed(() => {
      const [first] = own as [unknown[]];
      // Changes nothing if it is written already.
      first.length = 2;
      whenWritten(own, (others) => {
        member.isDropped = true;
        for (const args of others) args.splice(0, args.length, "PTTL", first[1]);
        return "PTTL";
      });
    });
    return member;
  });
}

function asBatch(build: BatchBuilder): Batch {
  // Of several keys, any will do where keys may be combined.
  return { target: "any", mode: "transaction", build };
}

/** While a command is queued. A client that may not use MULTI has had the others executed. */
const DENIED = /^NOPERM .*access (a|one of the) (key|channel)/;
const CROSSES_SLOTS = /^CROSSSLOT /;

function settle(members: readonly Member[], replies: readonly unknown[]): void {
  let from = 0;
  for (const { write, commands, isDropped } of members) {
    const own = replies.slice(from, from + commands);
    from += commands;
    const failure = isDropped ? new Error("It took too long to be sent") : own.find(isError);
    if (failure === undefined) write.onReplies(own);
    else write.onError(failure);
  }
}

function isError(reply: unknown): boolean {
  return reply instanceof Error;
}
