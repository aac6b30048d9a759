import { randomUUID } from "node:crypto";
import { SessionStoreError } from "../reporting/errors.ts";
import { kindOf, type RedisStoreClient, type RedisSubscriberSource } from "./client.ts";
import { ClusterPrimaries } from "./cluster.ts";
import type { Deadlines } from "./deadlines.ts";
import type { RedisSender } from "./executor.ts";
import { DELETE } from "./scripts.ts";
import type { Beat, Primaries, Primary } from "./topology.ts";

/**
 * The primaries behind a client.
 * @param subscriber the client to duplicate, except for a Cluster, whose nodes' own clients are
 * @param deadlines end heartbeats that would prove nothing any more
 */
export function primariesOf(
  client: RedisStoreClient,
  subscriber: RedisSubscriberSource,
  sender: RedisSender,
  deadlines: Deadlines,
): Primaries {
  if (sender.routes !== undefined) return new ClusterPrimaries(sender.routes, sender, deadlines);
  if (kindOf(client) === "sentinel") return new SentinelPrimary(client, subscriber, sender, deadlines);
  return new OnlyPrimary(subscriber, sender, deadlines);
}

/** A single Redis, that is whatever answers at its address. */
class OnlyPrimary implements Primaries, Primary {
  readonly mayChange = false;
  readonly isCurrent = true;
  readonly id = "";
  readonly #subscriber: RedisSubscriberSource;
  readonly #sender: RedisSender;
  readonly #deadlines: Deadlines;

  constructor(subscriber: RedisSubscriberSource, sender: RedisSender, deadlines: Deadlines) {
    this.#subscriber = subscriber;
    this.#sender = sender;
    this.#deadlines = deadlines;
  }

  async survey(): Promise<readonly Primary[]> {
    return [this];
  }

  subscriber(): RedisSubscriberSource {
    return this.#subscriber;
  }

  isHeardBy(): boolean {
    return true;
  }

  async beat(channel: string, message: string): Promise<Beat> {
    await this.#deadlines.run("heartbeat", (deadline) =>
      this.#sender.send(deadline, "PUBLISH", undefined, (batch) => batch.publish(channel, message)),
    );
    return "proof";
  }
}

/** What is used of a Sentinel client. */
interface SentinelClient extends RedisStoreClient {
  getMasterNode(): { readonly host: string; readonly port: number } | undefined;
}

/**
 * The one primary that the Sentinels name.
 *
 * The subscriber must listen to the very node that the client writes to: a replica hears what its primary publishes, but
 * misses what it was not connected for, and a heartbeat would not show that. The duplicate follows the Sentinels by
 * itself, so the two may be on different nodes for a while.
 *
 * A heartbeat goes out with a command that only a primary carries out, and only one that still has as many replicas as its
 * `min-replicas-to-write` wants: one that was cut off while another was made primary then proves nothing.
 */
class SentinelPrimary implements Primaries {
  readonly mayChange = true;
  /** Undefined while the client is not connected. */
  #surveyed: string | undefined;
  readonly #client: RedisStoreClient;
  readonly #subscriber: RedisSubscriberSource;
  readonly #sender: RedisSender;
  readonly #deadlines: Deadlines;
  /** A key that is never there. */
  readonly #nobody: string;

  constructor(
    client: RedisStoreClient,
    subscriber: RedisSubscriberSource,
    sender: RedisSender,
    deadlines: Deadlines,
  ) {
    this.#client = client;
    this.#subscriber = subscriber;
    this.#sender = sender;
    this.#deadlines = deadlines;
    this.#nobody = sender.prefix + randomUUID();
  }

  async survey(): Promise<readonly Primary[]> {
    const id = addressOf(this.#client);
    if (id === undefined) {
      const message = "The primary is not known: the client is not connected to one";
      throw new SessionStoreError("ERR_SUBSCRIPTION", message);
    }
    this.#surveyed = id;
    return [
      {
        id,
        subscriber: () => this.#subscriber,
        isHeardBy: (duplicate) => kindOf(duplicate) === "sentinel" && addressOf(duplicate) === id,
        beat: (channel, message) => this.#beat(id, channel, message),
      },
    ];
  }

  /** A client without a connection knows of no other. */
  get isCurrent(): boolean {
    return (addressOf(this.#client) ?? this.#surveyed) === this.#surveyed;
  }

  async #beat(id: string, channel: string, message: string): Promise<Beat> {
    if (!this.isCurrent) return "changed";
    await this.#deadlines.run("heartbeat", (deadline) =>
      this.#sender.evaluate(deadline, DELETE, [this.#nobody], [""], { channel, message }),
    );
    return addressOf(this.#client) === id ? "proof" : "changed";
  }
}

function addressOf(sentinel: unknown): string | undefined {
  const node = (sentinel as SentinelClient).getMasterNode();
  return node && `${node.host}:${node.port}`;
}
