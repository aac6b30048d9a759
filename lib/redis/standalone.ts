import {
  batchOn,
  type Connection,
  keyPrefixOf,
  type RedisStoreClient,
  type RedisSubscriberSource,
} from "./client.ts";
import { connectionProblem } from "./connection-state.ts";
import { Connections } from "./connections.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { Doubts } from "./doubts.ts";
import { CommandExecutor } from "./executor.ts";
import { Heartbeats } from "./heartbeats.ts";
import { Outage } from "./outage.ts";
import { ClientReadiness } from "./readiness.ts";
import { subscriberFrom } from "./subscriber.ts";
import { readsLikeClient } from "./subscriber-reads.ts";
import {
  type Batch,
  type HeartbeatResult,
  type Primary,
  type Probe,
  requireInStep,
  type SubscriberConnection,
  type SubscriberOptions,
  type Topology,
  type TopologyOptions,
} from "./topology.ts";
import { droppedAt } from "./unsent.ts";

/** A client of one server, or a pool of them. */
interface StandaloneClient extends RedisStoreClient {
  /** Undefined for a pool, which does not say which connection a command will take: its own queue is used. */
  readonly isReady?: boolean;
  readonly options?: { readonly commandsQueueMaxLength?: number };
  /** Of a pool: passes one of its connections. */
  execute?<T>(run: (connection: Connection) => T): Promise<T>;
}

/** A single Redis: whatever answers at its address. */
export class Standalone implements Topology, Primary {
  readonly fullPrefix: string;
  readonly prefix: string;
  readonly combinesKeys = true;
  readonly hasTransactions: boolean;
  readonly isUpToDate = true;
  readonly id = "";
  readonly doubts: Doubts = new Doubts();
  readonly outage: Outage = new Outage();
  readonly probe: Probe;
  database = 0;
  readonly #client: StandaloneClient;
  readonly #subscriber: RedisSubscriberSource;
  readonly #readiness = new ClientReadiness();
  readonly #connections = new Connections(this.doubts);
  readonly #deadlines: Deadlines;
  readonly #heartbeats: Heartbeats;

  constructor(client: RedisStoreClient, { prefix, subscriber, leaseMs }: TopologyOptions) {
    this.#client = client;
    this.prefix = prefix;
    // When its queue is full, node-redis may have queued MULTI and SET, and refuses EXEC.
    this.hasTransactions = this.#client.options?.commandsQueueMaxLength === undefined;
    this.fullPrefix = keyPrefixOf(client) + prefix;
    this.#subscriber = subscriber;
    this.#deadlines = new Deadlines(leaseMs, "", () => connectionProblem(client, leaseMs));
    this.#heartbeats = new Heartbeats(new CommandExecutor(this), prefix, this.#deadlines);
    this.probe = this.#heartbeats.probe;
    if (this.#isPool) this.#connections.watchOwner(client, "error");
    else this.#connections.watch(client as Connection);
  }

  async send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    if (!this.#isConnected) {
      await this.#readiness.whenConnected(deadline, this.#client, () => this.#isConnected);
    }
    let used = this.#client as Connection;
    const client = this.#isPool
      ? this.#connections.startingOn(this.#client, "execute", (connection, run) => {
          used = connection;
          return run();
        })
      : this.#client;
    const commands = batch.build(droppedAt(deadline, batchOn(client)));
    const executing = batch.mode === "transaction" ? commands.exec() : commands.execAsPipeline();
    if (!this.#isPool) this.#connections.silence.track(used, executing);
    const replies = await executing;
    return requireInStep(batch, replies, () => this.#connections.replace(used));
  }

  async nodes(): Promise<readonly string[]> {
    return [this.id];
  }

  async discover(): Promise<readonly Primary[]> {
    // Again, since what is closed is not watched for any more.
    if (!this.#isPool) this.#connections.watch(this.#client as Connection);
    const databaseOf = ({ options }: Connection) => options?.database ?? 0;
    const asked = this.#client.execute?.(databaseOf);
    this.database = await (asked === undefined
      ? databaseOf(this.#client as Connection)
      : this.#deadlines.run("discovery", () => asked));
    return [this];
  }

  async createSubscriber(options: SubscriberOptions): Promise<SubscriberConnection> {
    return subscriberFrom(this.#subscriber, options);
  }

  isConnectedTo(): boolean {
    return true;
  }

  async canReadOn(subscriber: SubscriberConnection): Promise<boolean | undefined> {
    const ask = (deadline: Deadline) => readsLikeClient(subscriber, this, deadline);
    return this.#deadlines.run("CLIENT INFO", ask).catch(() => undefined);
  }

  primaryIdOf(): string | undefined {
    return this.#isConnected ? this.id : undefined;
  }

  sendHeartbeat(channel: string, payload: string): Promise<HeartbeatResult> {
    return this.#heartbeats.send(channel, payload);
  }

  checkConnections(silentMs: number, onReplaced: () => void): boolean {
    return this.#connections.silence.check(silentMs, onReplaced);
  }

  get #isConnected(): boolean {
    return this.#client.isReady ?? this.#client.isOpen;
  }

  get #isPool(): boolean {
    return this.#client.isReady === undefined;
  }
}
