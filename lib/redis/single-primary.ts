import { randomUUID } from "node:crypto";
import { type Connection, keyPrefixOf, type RedisStoreClient, type RedisSubscriberSource } from "./client.ts";
import { Connections } from "./connections.ts";
import { type Deadline, Deadlines } from "./deadlines.ts";
import { CommandExecutor } from "./executor.ts";
import { Outage } from "./outage.ts";
import { ClientReadiness } from "./readiness.ts";
import { receiversIn } from "./replies.ts";
import { HEARTBEAT } from "./scripts.ts";
import { classicConnection } from "./subscriber.ts";
import {
  type Batch,
  Doubts,
  type HeartbeatResult,
  type Primary,
  type Probe,
  type SessionConnection,
  type SubscriberConnection,
  type Topology,
  type TopologyOptions,
} from "./topology.ts";

/** What all topologies share in which one primary has all sessions. */
export abstract class SinglePrimary implements Topology {
  readonly fullPrefix: string;
  readonly prefix: string;
  readonly combinesKeys = true;
  /** Not before a connection has been used. */
  hasTransactions = false;
  readonly doubts: Doubts = new Doubts();
  readonly outage: Outage = new Outage();
  readonly probe: Probe;
  abstract readonly isUpToDate: boolean;
  readonly readiness: ClientReadiness;
  protected readonly subscriber: RedisSubscriberSource;
  protected readonly connections: Connections;
  protected readonly deadlines: Deadlines;
  protected readonly executor: CommandExecutor = new CommandExecutor(this);
  /** A pool and a Sentinel client show a connection only when it is used. */
  protected lastUsed: Connection | undefined;
  /** A key that never exists. */
  protected readonly absentKey: string;

  /** @param connectionErrorEvent see `ReadinessOptions` */
  constructor(
    client: RedisStoreClient,
    { prefix, subscriber, leaseMs }: TopologyOptions,
    connectionErrorEvent?: string | symbol,
  ) {
    this.prefix = prefix;
    this.fullPrefix = keyPrefixOf(client) + prefix;
    this.subscriber = subscriber;
    const isConnected = () => this.isConnected();
    this.readiness = new ClientReadiness(client, { isConnected, connectionErrorEvent });
    this.connections = new Connections(this);
    this.deadlines = new Deadlines(leaseMs, { explain: () => this.readiness.problem(leaseMs) });
    const key = prefix + randomUUID();
    this.absentKey = key;
    this.probe = { name: "GETRANGE", acl: "+getrange", build: (batch) => batch.getRange(key, 0, 0) };
  }

  protected abstract isConnected(): boolean | undefined;
  abstract send(deadline: Deadline, batch: Batch): Promise<unknown[]>;
  abstract primaryIdOf(): string | undefined;
  abstract discover(): Promise<readonly Primary[]>;

  /** To be called before a connection is used. */
  protected use(connection: Connection): void {
    this.lastUsed = connection;
    this.connections.watch(connection);
    // When a bounded queue is full, node-redis may have queued MULTI and SET, and refuses EXEC.
    this.hasTransactions = connection.options?.commandsQueueMaxLength === undefined;
  }

  get database(): number {
    return this.lastUsed?.options?.database ?? 0;
  }

  async primaryIds(): Promise<readonly string[]> {
    return [""];
  }

  channelTagOf(): undefined {}

  holds(): boolean {
    return true;
  }

  async sessionConnection(subscriber: SubscriberConnection): Promise<SessionConnection> {
    return classicConnection(subscriber);
  }

  checkConnections(silentMs: number, onReplaced: (what: string) => void): boolean {
    this.connections.demoted?.check(onReplaced);
    return this.connections.silence.check(silentMs, onReplaced);
  }

  /** @throws SessionStoreError also if another reply than that to this heartbeat arrives */
  async sendHeartbeat(channel: string, payload: string): Promise<HeartbeatResult> {
    const as = (reply: unknown) => receiversIn(reply, payload);
    const isInStep = ([reply]: readonly unknown[]) => as(reply) !== undefined;
    const call = { script: HEARTBEAT, keys: [this.absentKey], args: [], isInStep, as };
    const receivers = await this.deadlines.run("heartbeat", (deadline) =>
      this.executor.runScript(deadline, call, { channel, message: payload }),
    );
    return receivers === 0 ? "elsewhere" : "proof";
  }
}
