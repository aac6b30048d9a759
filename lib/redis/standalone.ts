import { batchOn, keyPrefixOf, type RedisStoreClient, type RedisSubscriberSource } from "./client.ts";
import { connectionProblem } from "./connection-state.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { CommandExecutor } from "./executor.ts";
import { ClientReadiness } from "./readiness.ts";
import { subscriberFrom } from "./subscriber.ts";
import type {
  Batch,
  HeartbeatResult,
  Primary,
  SubscriberConnection,
  Topology,
  TopologyOptions,
} from "./topology.ts";

/** A client of one server, or a pool of them. */
interface StandaloneClient extends RedisStoreClient {
  /** Undefined for a pool, which does not say which connection a command will take: its own queue is used. */
  readonly isReady?: boolean;
}

/** A single Redis: whatever answers at its address. */
export class Standalone implements Topology, Primary {
  readonly fullPrefix: string;
  readonly prefix: string;
  readonly combinesKeys = true;
  readonly needsConfirmation = false;
  readonly isUpToDate = true;
  readonly id = "";
  readonly #client: StandaloneClient;
  readonly #subscriber: RedisSubscriberSource;
  readonly #readiness = new ClientReadiness();
  readonly #heartbeats: Deadlines;
  readonly #executor = new CommandExecutor(this);

  constructor(client: RedisStoreClient, { prefix, subscriber, leaseMs }: TopologyOptions) {
    this.#client = client;
    this.prefix = prefix;
    this.fullPrefix = keyPrefixOf(client) + prefix;
    this.#subscriber = subscriber;
    this.#heartbeats = new Deadlines(leaseMs, () => connectionProblem(client, leaseMs));
  }

  async send(deadline: Deadline, { mode, build }: Batch): Promise<unknown[]> {
    const isConnected = () => this.#client.isReady ?? this.#client.isOpen;
    if (!isConnected()) await this.#readiness.whenConnected(deadline, this.#client, isConnected);
    const batch = build(batchOn(this.#client));
    return mode === "transaction" ? batch.exec() : batch.execAsPipeline();
  }

  async nodes(): Promise<readonly string[]> {
    return [this.id];
  }

  async discover(): Promise<readonly Primary[]> {
    return [this];
  }

  async createSubscriber(): Promise<SubscriberConnection> {
    return subscriberFrom(this.#subscriber);
  }

  isConnectedTo(): boolean {
    return true;
  }

  async sendHeartbeat(channel: string, payload: string): Promise<HeartbeatResult> {
    await this.#heartbeats.run("heartbeat", (deadline) =>
      this.#executor.publish(deadline, { channel, message: payload }),
    );
    return "proof";
  }
}
