import { aclHint, errorMessage, SessionStoreError } from "../reporting/errors.ts";
import { hintFor } from "../reporting/fixes.ts";
import type { CommandBatch, ScriptArguments } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { failureIn, isErrorReply } from "./replies.ts";
import type { PublishingScript, Script } from "./script.ts";
import type { Batch, BatchBuilder, Replies, Target, Topology } from "./topology.ts";
import { WriteGroups } from "./write-groups.ts";

/** A message that is published if, and only if, the write it belongs to is executed. */
export interface Announcement {
  readonly channel: string;
  readonly message: string;
  /** What the names of all channels begin with, for hints about permissions. @default channel */
  readonly baseChannel?: string;
  /** Of a channel in one shard of a Cluster: what to publish instead at a node that is taking over the slot. */
  readonly whileMoving?: Pick<Announcement, "channel" | "message"> | undefined;
}

/** An announcement of sessions that the script determines: it inserts their ids, as JSON separated by commas. */
export interface OpenAnnouncement {
  readonly channel: string;
  /** The message before the ids. */
  readonly head: string;
  /** The message after them. */
  readonly tail: string;
}

/** Commands to be sent, and what an error says of them. */
export interface Command {
  /** Names the commands in errors. */
  readonly name: string;
  /** The permissions they need, in the words of an ACL. */
  readonly acl: string;
  readonly target: Target;
  readonly build: BatchBuilder;
  /** Of a write that may be sent together with others: roughly what it sends. Its first command names its key. */
  readonly bytes?: number;
  /** See `Batch`. */
  readonly isInStep?: ((replies: readonly unknown[]) => boolean) | undefined;
}

/** One run of a script. */
export interface ScriptCall<T = unknown> {
  readonly script: Script | PublishingScript;
  /** All in one slot, and at least one. */
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** Permissions that this run needs besides the script's `acl`. */
  readonly extraAcl?: string;
  /** Whether it is certainly the reply to this run; see `Batch`. */
  readonly isInStep?: (reply: unknown) => boolean;
  /** Reads the reply; see `read`. */
  readonly as?: (reply: unknown) => T | undefined;
}

/** For scripts that publish, when there is nothing to publish. */
export const NO_ANNOUNCEMENT: Announcement = { channel: "", message: "" };

/** Sends commands and scripts, and turns failures into `SessionStoreError`s that name the permissions that are missing. */
export class CommandExecutor {
  readonly #topology: Topology;
  readonly #groups = new WriteGroups((deadline, batch) => this.#exchange(deadline, batch));

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  /**
   * Sends commands in one round trip: with an announcement as a transaction, perhaps together with others, else as a pipeline.
   * @throws SessionStoreError `ERR_SESSION_REDIS`
   */
  async send(deadline: Deadline, command: Command, announcement?: Announcement): Promise<Replies> {
    const { name, acl, target, build, bytes, isInStep } = command;
    try {
      if (announcement === undefined)
        return await this.#exchange(deadline, { target, mode: "pipeline", isInStep, build });
      const { channel, message } = announcement;
      const buildBoth: BatchBuilder = (batch) => build(batch).publish(channel, message);
      if (bytes !== undefined && this.#topology.combinesKeys)
        return await this.#groups.send(deadline, buildBoth, bytes);
      return await this.#exchange(deadline, { target, mode: "transaction", isInStep, build: buildBoth });
    } catch (error) {
      throw this.#errorOf(name, error, announcement ? `${acl} +multi +exec` : acl, announcement);
    }
  }

  /** Sends a batch, and reports it to those who watch for outages. Fails with what the client or Redis throws. */
  #exchange(deadline: Deadline, batch: Batch): Promise<Replies> {
    const { outage } = this.#topology;
    let sentAt = 0;
    outage.asked();
    const build: BatchBuilder = (commands, isMoving) => {
      sentAt = performance.now();
      return batch.build(commands, isMoving);
    };
    return this.#topology.send(deadline, { ...batch, build }).then(
      (replies) => {
        outage.answered(sentAt);
        return { replies, sentAt };
      },
      (error: unknown) => {
        if (isErrorReply(error)) outage.answered(sentAt);
        throw error;
      },
    );
  }

  /**
   * Runs a script by its hash, and by its source if the server does not know it.
   * @param announcement its channel and message become the first two arguments; required by scripts that publish
   * @returns the script's reply
   * @throws SessionStoreError `ERR_SESSION_REDIS`
   */
  async runScript<T>(
    deadline: Deadline,
    { script, keys, args, extraAcl, isInStep, as }: ScriptCall<T>,
    announcement?: Announcement,
  ): Promise<T> {
    const whileMoving = announcement?.whileMoving;
    const chosen = whileMoving !== undefined && "inShard" in script ? script.inShard : script;
    const givenWith = (toPublish: Announcement["whileMoving"]) => ({
      keys: [...keys],
      arguments: [...(toPublish ? [toPublish.channel, toPublish.message] : []), ...args],
    });
    const given = givenWith(announcement);
    const target: Target = { key: keys[0] as string };
    const check = isInStep && (([reply]: readonly unknown[]) => isInStep(reply));
    const run = (add: (batch: CommandBatch, script: Script, given: ScriptArguments) => CommandBatch) => {
      const build: BatchBuilder = (batch, isMoving) =>
        isMoving && whileMoving ? add(batch, script, givenWith(whileMoving)) : add(batch, chosen, given);
      return this.#exchange(deadline, { target, mode: "pipeline", build, isInStep: check });
    };
    let reply: unknown;
    try {
      const { replies } = await run((batch, { sha1 }, given) => batch.evalSha(sha1, given)).catch(
        (error: unknown) => {
          if (deadline.passed || !errorMessage(failureIn(error)).startsWith("NOSCRIPT")) throw error;
          return run((batch, { source }, given) => batch.eval(source, given));
        },
      );
      reply = replies[0];
    } catch (error) {
      const acl = ["+evalsha +eval", chosen.acl, extraAcl].filter(Boolean).join(" ");
      throw this.#errorOf("EVALSHA", error, acl, announcement);
    }
    return as === undefined ? (reply as T) : this.read("EVALSHA", reply, as);
  }

  /**
   * A reply as `as` reads it.
   * @throws SessionStoreError `ERR_SESSION_REDIS` if it is of another type: then it is the reply to another command
   */
  read<T>(name: string, reply: unknown, as: (reply: unknown) => T | undefined): T {
    const value = as(reply);
    if (value !== undefined) return value;
    this.#topology.doubts.raise("replies are out of step");
    throw new SessionStoreError("ERR_SESSION_REDIS", `${name}: unexpected reply (${typeof reply})`);
  }

  #errorOf(
    name: string,
    error: unknown,
    acl: string,
    announcement: Announcement | undefined,
  ): SessionStoreError {
    const cause = withoutArguments(failureIn(error));
    const reason = errorMessage(cause);
    if (/\bREADONLY\b/.test(reason)) this.#topology.doubts.raise("Redis is read-only");
    const neededAcl = aclHint(reason, () => {
      const { channel, baseChannel = channel } = announcement ?? NO_ANNOUNCEMENT;
      const toPublish = baseChannel ? ` +publish &${baseChannel}*` : "";
      return `${acl} ~${this.#topology.fullPrefix}*${toPublish}`;
    });
    const message = `${name}: ${reason}${neededAcl || hintFor(reason)}`;
    return new SessionStoreError("ERR_SESSION_REDIS", message, cause);
  }
}

/** An error without the arguments of the command, which Redis repeats if it does not know the command: they contain keys. */
function withoutArguments(error: unknown): unknown {
  const [known, args] = errorMessage(error).split(/,? with args beginning with:/);
  return args === undefined ? error : new Error(known);
}
