import { errorMessage, SessionStoreError } from "../reporting/errors.ts";
import type { BatchingClient, CommandBatch, RedisStoreClient, RedisSubscriberSource } from "./client.ts";
import type { Deadline } from "./deadlines.ts";
import { SinglePrimary } from "./single-primary.ts";
import type {
  Batch,
  HeartbeatResult,
  Primary,
  SubscriberConnection,
  SubscriberEvent,
  SubscriberOptions,
  TopologyOptions,
} from "./topology.ts";
import { trackingError } from "./tracking.ts";

/** What is used of a Sentinel client. */
interface SentinelClient extends BatchingClient {
  /** Undefined while the client is not connected. */
  getMasterNode(): { readonly host: string; readonly port: number } | undefined;
}

/** What is used of a Sentinel client that subscribes. */
interface SentinelSubscriber extends SubscriberConnection {
  on(event: SubscriberEvent | "topology-change", listener: (given?: unknown) => void): unknown;
  emit(event: "error", error: Error): unknown;
}

/**
 * The primary that the Sentinels name.
 *
 * - The subscriber must be connected to the node that the client writes to. A replica publishes what its primary publishes,
 *   but not what it missed while disconnected, and a heartbeat does not show that. The subscriber follows the Sentinels by
 *   itself, so the two may be connected to different nodes for a while.
 * - A heartbeat includes a write. Only a primary executes it, and only one that has as many replicas as its
 *   `min-replicas-to-write` demands: a primary that was cut off and replaced proves nothing.
 */
export class Sentinel extends SinglePrimary implements Primary {
  /** The address of the primary of the last `discover`; empty before. */
  id = "";
  readonly #client: SentinelClient;
  #lastStart: Promise<void> = Promise.resolve();

  constructor(client: RedisStoreClient, options: TopologyOptions) {
    super(client, options, "client-error");
    this.#client = client as SentinelClient;
  }

  /**
   * When a connection breaks, node-redis sends the pending commands again, to the next primary perhaps. A write that has been
   * executed must not be: others may have written since. Redis has refused it if the error is READONLY.
   */
  async send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    if (!this.isConnected()) {
      this.outage.asked();
      await this.readiness.whenConnected(deadline);
    }
    await this.#waitToStart();
    let writes = false;
    let lost: unknown;
    const client = this.connections.startingOn(this.#client, "_execute", batch, async (connection, run) => {
      if (lost !== undefined) throw lost;
      this.use(connection);
      try {
        return await run();
      } catch (error) {
        if (writes && !errorMessage(error).startsWith("READONLY")) lost = error;
        throw error;
      }
    });
    const onWrite = () => {
      writes = true;
    };
    return this.connections.execute(deadline, primaryOnly(client.multi(), onWrite), batch);
  }

  /** Of a client of node-redis 5, `isReady` says only that it was connected once. */
  protected isConnected(): boolean {
    return addressOf(this.#client) !== undefined;
  }

  /** True also for a client without a connection: it does not know another primary. */
  get isUpToDate(): boolean {
    return (addressOf(this.#client) ?? this.id) === this.id;
  }

  /** Undefined while the client follows another primary than the subscriptions. */
  primaryIdOf(): string | undefined {
    return addressOf(this.#client) === this.id ? this.id : undefined;
  }

  async discover(): Promise<readonly Primary[]> {
    const id = addressOf(this.#client);
    if (id === undefined) {
      const problem = this.readiness.problem(0) ?? "the client is not connected to one";
      throw new SessionStoreError("ERR_SUBSCRIPTION", `The primary is not known: ${problem}`);
    }
    if (this.lastUsed === undefined) {
      const command = { ...this.probe, target: "any" } as const;
      await this.deadlines.run("discovery", (deadline) => this.executor.send(deadline, command));
    }
    this.id = id;
    return [this];
  }

  async createSubscriber({ isTracked }: SubscriberOptions): Promise<SubscriberConnection> {
    if (isTracked) throw trackingError("a Sentinel client hides the connection on which it subscribes");
    return sentinelSubscriberFrom(this.subscriber);
  }

  isConnectedTo(subscriber: SubscriberConnection): boolean {
    return addressOf(subscriber) === this.id;
  }

  /** A Sentinel client hides the connection on which it subscribes. */
  async canReadOn(): Promise<boolean> {
    return false;
  }

  override async sendHeartbeat(channel: string, payload: string): Promise<HeartbeatResult> {
    if (!this.isUpToDate) return "changed";
    const result = await super.sendHeartbeat(channel, payload);
    return addressOf(this.#client) === this.id ? result : "changed";
  }

  /**
   * Starts one operation after another, although each continues while the next starts. A Sentinel client shares a connection
   * among commands, but those that start in the same moment want one each, and some never get it.
   */
  async #waitToStart(): Promise<void> {
    const previous = this.#lastStart;
    let start = () => {};
    this.#lastStart = new Promise((resolve) => {
      start = resolve;
    });
    await previous;
    // After two microtasks the operation has its connection, if there is one.
    queueMicrotask(() => queueMicrotask(start));
  }
}

/** All commands of a Sentinel client's batch are added through this. */
interface SentinelBatch {
  addCommand(isReadonly: boolean | undefined, ...rest: unknown[]): unknown;
}

/**
 * A batch that only the primary executes.
 *
 * With `replicaPoolSize`, node-redis sends batches that only read to replicas, whose data may be older than an invalidation
 * that has been received, and would then be cached. So no command is declared read-only.
 * @param onWrite called when a command is added that node-redis would not send to replicas
 */
function primaryOnly(commands: CommandBatch, onWrite: () => void): CommandBatch {
  const batch = commands as unknown as SentinelBatch;
  const { addCommand } = batch;
  const value: SentinelBatch["addCommand"] = (isReadonly, ...rest) => {
    if (!isReadonly) onWrite();
    return addCommand.call(batch, false, ...rest);
  };
  // Not by assignment: with it the heap was observed to grow as batches were sent, and with defineProperty it was not.
  Object.defineProperty(batch, "addCommand", { value, configurable: true, writable: true });
  return commands;
}

/**
 * A Sentinel client for subscribing. Its options cannot be overridden: it does not expose them, and credentials would be lost.
 *
 * It continues with the next primary by itself and subscribes there, but messages published in between are lost. So every
 * change of the primary after the first connection is an error.
 */
function sentinelSubscriberFrom(source: RedisSubscriberSource): SubscriberConnection {
  const client = typeof source === "function" ? source() : source.duplicate();
  const subscriber = client as SentinelSubscriber;
  let hasPrimary = false;
  subscriber.on("topology-change", (event) => {
    if ((event as { type?: string }).type !== "MASTER_CHANGE") return;
    if (hasPrimary) subscriber.emit("error", new Error("The primary changed"));
    hasPrimary = true;
  });
  return subscriber;
}

/** The address of the primary that a Sentinel client is connected to; undefined for any other client. */
function addressOf(client: object): string | undefined {
  const node = (client as Partial<SentinelClient>).getMasterNode?.();
  return node && `${node.host}:${node.port}`;
}
