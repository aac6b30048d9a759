import { aclHint, errorMessage, hintFor, SessionStoreError } from "../reporting/errors.ts";
import type { Deadline } from "./deadlines.ts";
import { failureIn, isReadOnly } from "./replies.ts";
import type { PublishingScript, Script } from "./script.ts";
import type { Batch, BatchBuilder, Target, Topology } from "./topology.ts";

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
export interface Command extends Batch {
  /** Names the commands in errors. */
  readonly name: string;
  /** The permissions they need, in the words of an ACL. */
  readonly acl: string;
}

/** One run of a script. */
export interface ScriptCall<T = unknown> extends Pick<Batch, "isInStep"> {
  readonly script: Script | PublishingScript;
  /** All in one slot, and at least one. */
  readonly keys: readonly string[];
  readonly args: readonly string[];
  /** Permissions that this run needs besides the script's `acl`. */
  readonly extraAcl?: string | undefined;
  /** Reads the reply; undefined for one of another type. */
  readonly as?: (reply: unknown) => T | undefined;
}

/** The channel and the message, for a script that publishes, when there is nothing to publish. */
const NO_ANNOUNCEMENT: readonly string[] = ["", ""];

/** Sends commands and scripts, and turns failures into `SessionStoreError`s that name the permissions that are missing. */
export class CommandExecutor {
  readonly #topology: Topology;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  /** Sends commands in one round trip. @throws SessionStoreError `ERR_SESSION_REDIS` */
  send(deadline: Deadline, command: Command): Promise<readonly unknown[]> {
    return this.#topology.send(deadline, command).catch((error: unknown) => {
      throw this.errorOf(command.name, error, command.acl);
    });
  }

  /**
   * Runs a script by its hash, and by its source if the server does not know it.
   * @param announcement its channel and message become the first two arguments; without one, a script that publishes
   * gets two empty ones
   * @returns the script's reply
   * @throws SessionStoreError `ERR_SESSION_REDIS`
   */
  runScript<T>(
    deadline: Deadline,
    { script, keys, args, extraAcl, isInStep, as }: ScriptCall<T>,
    announcement?: Announcement,
  ): Promise<T> {
    const whileMoving = announcement?.whileMoving;
    const chosen = whileMoving !== undefined && "inShard" in script ? script.inShard : script;
    const nothing = "inShard" in script ? NO_ANNOUNCEMENT : [];
    const target: Target = { key: keys[0] as string };
    let isKnown = true;
    const build: BatchBuilder = (batch, isMoving) => {
      const { sha1, source } = isMoving ? script : chosen;
      const toPublish = (isMoving && whileMoving) || announcement;
      const published = toPublish === undefined ? nothing : [toPublish.channel, toPublish.message];
      const given = { keys: [...keys], arguments: [...published, ...args] };
      return isKnown ? batch.evalSha(sha1, given) : batch.eval(source, given);
    };
    const run = () => this.#topology.send(deadline, { target, build, isInStep });
    const read = ([reply]: readonly unknown[]): T =>
      as === undefined ? (reply as T) : (as(reply) ?? this.unexpected("EVALSHA", reply));
    const fail = (error: unknown): never => {
      const acl = ["+evalsha +eval", chosen.acl, extraAcl].filter(Boolean).join(" ");
      throw this.errorOf("EVALSHA", error, acl, announcement);
    };
    return run().then(read, (error: unknown) => {
      if (deadline.passed || !errorMessage(failureIn(error)).startsWith("NOSCRIPT")) return fail(error);
      isKnown = false;
      return run().then(read, fail);
    });
  }

  /** A reply of an unexpected type is the reply to another command. @throws SessionStoreError `ERR_SESSION_REDIS` */
  unexpected(name: string, reply: unknown): never {
    this.#topology.doubts.raise("replies are out of step");
    throw new SessionStoreError("ERR_SESSION_REDIS", `${name}: unexpected reply (${typeof reply})`);
  }

  /** The error for what a topology's `send` fails with. @param acl the permissions that the commands need */
  errorOf(name: string, error: unknown, acl: string, announcement?: Announcement): SessionStoreError {
    const cause = withoutArguments(failureIn(error));
    const reason = errorMessage(cause);
    if (isReadOnly(cause)) this.#topology.doubts.raise("Redis is read-only");
    const neededAcl = aclHint(reason, () => {
      const baseChannel = announcement?.baseChannel ?? announcement?.channel;
      const toPublish = baseChannel === undefined ? "" : ` +publish &${baseChannel}*`;
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
