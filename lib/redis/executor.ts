import { createHash } from "node:crypto";
import { aclHint, errorMessage, SessionStoreError } from "../reporting/errors.ts";
import {
  batchOn,
  keyPrefixOf,
  kindOf,
  type RedisStoreClient,
  type ScriptArguments,
  sentinelBatchOn,
} from "./client.ts";
import { type ClusterNode, ClusterRoutes, type Fill } from "./cluster-routing.ts";
import type { Deadline } from "./deadlines.ts";
import { ClientReadiness } from "./readiness.ts";

/** A message that must reach the other processes if, and only if, the write it goes with is carried out. */
export interface Announcement {
  readonly channel: string;
  readonly message: string;
}

/** The key whose primary is meant, or a primary of a Cluster, or undefined for any. */
export type Target = string | ClusterNode | undefined;

export interface Script {
  readonly source: string;
  readonly sha1: string;
  /** What it calls, in the words of an ACL. */
  readonly rights: string;
}

export function script(rights: string, source: string): Script {
  return { source, sha1: createHash("sha1").update(source).digest("hex"), rights };
}

/**
 * Sends commands by whatever client there is: one connection, a pool, a Sentinel's, or a Cluster's with its many primaries.
 *
 * All go through `multi()`, because that is what every kind of client has alike: as a pipeline for reads, as a
 * transaction for a write and its message. Its batches bypass node-redis's own client-side cache and the timer that it
 * would start for each single command.
 */
export class RedisSender {
  /** What stands before a session's id in Redis, the client's own `keyPrefix` included. */
  readonly fullPrefix: string;
  /** What stands before a session's id in the commands that are sent. */
  readonly prefix: string;
  /** The ways to the primaries of a Cluster; undefined for any other client. */
  readonly routes: ClusterRoutes | undefined;
  readonly #client: RedisStoreClient;
  readonly #readiness: ClientReadiness;
  readonly #isSentinel: boolean;
  #turn: Promise<void> = Promise.resolve();

  constructor(client: RedisStoreClient, prefix: string) {
    const kind = kindOf(client);
    this.#client = client;
    this.#readiness = new ClientReadiness(client);
    this.#isSentinel = kind === "sentinel";
    this.routes = kind === "cluster" ? new ClusterRoutes(client, this.#readiness) : undefined;
    this.fullPrefix = keyPrefixOf(client) + prefix;
    // The nodes' clients of a Cluster client do not know its keyPrefix.
    this.prefix = kind === "cluster" ? this.fullPrefix : prefix;
  }

  /**
   * Sends commands in one round trip; with an announcement, or if told to, in one transaction.
   * @param what names them in the error
   * @throws SessionStoreError `ERR_SESSION_REDIS`
   */
  async send(
    deadline: Deadline,
    what: string,
    target: Target,
    fill: Fill,
    together?: Announcement | "as a unit",
  ): Promise<{ replies: unknown[]; sentAt: number }> {
    const announcement = typeof together === "object" ? together : undefined;
    let sentAt = 0;
    const fillAll: Fill = (batch) => {
      sentAt = Date.now();
      fill(batch);
      return announcement ? batch.publish(announcement.channel, announcement.message) : batch;
    };
    try {
      return { replies: await this.#exec(deadline, target, fillAll, together !== undefined), sentAt };
    } catch (error) {
      const own = RIGHTS[what] ?? `+${what.toLowerCase()}`;
      throw this.#refused(what, error, announcement ? `${own} +multi +exec` : own, announcement);
    }
  }

  /**
   * Runs a script, which is a unit by itself.
   * @param keys all in one slot
   * @param given its arguments; channel and message, or two empty ones, come after them
   * @param also what goes with it in one transaction
   * @returns its reply
   * @throws SessionStoreError `ERR_SESSION_REDIS`
   */
  async evaluate(
    deadline: Deadline,
    { sha1, source, rights }: Script,
    keys: readonly string[],
    given: readonly string[],
    announcement: Announcement | undefined,
    also?: Fill,
  ): Promise<unknown> {
    const { channel = "", message = "" } = announcement ?? {};
    const all: ScriptArguments = { keys: [...keys], arguments: [...given, channel, message] };
    const exec = (run: Fill) => {
      const fill: Fill = (batch) => (also === undefined ? run(batch) : also(run(batch)));
      return this.#exec(deadline, keys[0], fill, also !== undefined);
    };
    try {
      const replies = await exec((batch) => batch.evalSha(sha1, all)).catch((error: unknown) => {
        if (deadline.passed || !errorMessage(failureIn(error)).startsWith("NOSCRIPT")) throw error;
        return exec((batch) => batch.eval(source, all));
      });
      return replies[0];
    } catch (error) {
      throw this.#refused("EVALSHA", error, `+evalsha +eval ${rights}`, announcement);
    }
  }

  /** All that there are, each to be sent to. Undefined stands for the only one. */
  async primaries(deadline: Deadline): Promise<readonly (ClusterNode | undefined)[]> {
    if (this.routes === undefined) return [undefined];
    // A client that is not connected yet knows none, which must not be taken for "there are no sessions".
    if (this.routes.primaries.length === 0) await this.ping(deadline, undefined);
    return this.routes.primaries;
  }

  async ping(deadline: Deadline, primary: ClusterNode | undefined): Promise<void> {
    await this.send(deadline, "PING", primary, (batch) => batch.ping());
  }

  async #exec(deadline: Deadline, target: Target, fill: Fill, asUnit: boolean): Promise<unknown[]> {
    if (this.routes !== undefined) {
      return typeof target === "string"
        ? this.routes.toPrimaryOf(deadline, target, fill, asUnit)
        : this.routes.toNode(deadline, target, fill, asUnit);
    }
    if (this.#readiness.mustWait) await this.#readiness.whenReady(deadline);
    if (this.#isSentinel) await this.#turnToBegin();
    const batch = fill(this.#isSentinel ? sentinelBatchOn(this.#client, deadline) : batchOn(this.#client));
    return asUnit ? batch.exec() : batch.execAsPipeline();
  }

  /**
   * Begins one operation after the other, though each goes on while the next begins: a Sentinel client shares a connection
   * among commands, but of those that begin in the same moment each wants one to itself, and some never get it.
   */
  async #turnToBegin(): Promise<void> {
    const before = this.#turn;
    let next = () => {};
    this.#turn = new Promise((resolve) => {
      next = resolve;
    });
    await before;
    // It has its connection, if there is one, when this turn of the event loop's small tasks has come round.
    queueMicrotask(() => queueMicrotask(next));
  }

  /** The error for what Redis or the client refused. @param rights what it takes, in the words of an ACL */
  #refused(
    what: string,
    error: unknown,
    rights: string,
    announcement: Announcement | undefined,
  ): SessionStoreError {
    const cause = failureIn(error);
    const reason = errorMessage(cause);
    const needed = aclHint(reason, () => {
      const toPublish = announcement ? ` +publish &${announcement.channel}*` : "";
      return `${rights} ~${this.fullPrefix}*${toPublish}`;
    });
    return new SessionStoreError("ERR_SESSION_REDIS", `${what}: ${reason}${needed}`, cause);
  }
}

/** What is sent under one name, in the words of an ACL, where it is more than that. */
const RIGHTS: Record<string, string> = {
  GET: "+get +pttl",
  MGET: "+mget +pttl",
  PUBLISH: "+publish and the channel",
  EVAL: "+eval +time +zadd +zrange +zrangebyscore +zrevrange +zrem +pexpireat +persist ~idx:{*",
  CLUSTER: "+cluster|info +cluster|slots",
  heartbeat: "+cluster|info +cluster|slots +publish and the channel",
};

/** Of a transaction in which commands failed, what the first of them said. */
function failureIn(error: unknown): unknown {
  const { replies, errorIndexes } = error as { replies?: unknown[]; errorIndexes?: number[] };
  return replies?.[errorIndexes?.[0] ?? -1] ?? error;
}
