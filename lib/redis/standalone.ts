import { errorMonitor } from "node:events";
import { type BatchingClient, type Connection, keyPrefixOf, type RedisStoreClient } from "./client.ts";
import { Deadline } from "./deadlines.ts";
import { until } from "./readiness.ts";
import { isErrorReply } from "./replies.ts";
import { SinglePrimary } from "./single-primary.ts";
import { subscriberFrom } from "./subscriber.ts";
import type { Batch, Primary, SubscriberConnection, SubscriberOptions, TopologyOptions } from "./topology.ts";

/** A single Redis: whatever answers at its address. */
abstract class SingleServer extends SinglePrimary implements Primary {
  readonly isUpToDate = true;
  readonly id = "";

  constructor(client: RedisStoreClient, options: TopologyOptions, connectionErrorEvent?: symbol) {
    super(client, options, connectionErrorEvent);
    this.connections.leaveFormerPrimaries(client, keyPrefixOf(client) + this.absentKey);
  }

  /** Whether a command need not wait for a connection. */
  protected abstract readonly maySend: boolean;
  protected abstract exchange(deadline: Deadline, batch: Batch): Promise<unknown[]>;

  send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    if (!this.maySend) {
      this.outage.asked();
      return this.readiness.whenConnected(deadline).then(() => this.exchange(deadline, batch));
    }
    try {
      return this.exchange(deadline, batch);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async createSubscriber(options: SubscriberOptions): Promise<SubscriberConnection> {
    return subscriberFrom(this.subscriber, options);
  }

  isConnectedTo(): boolean {
    return true;
  }

  async canReadOn(subscriber: SubscriberConnection): Promise<boolean | undefined> {
    const ask = (deadline: Deadline) => this.#readsLikeClient(subscriber, deadline);
    return this.deadlines.run("CLIENT INFO", ask).catch(() => undefined);
  }

  primaryIdOf(): string | undefined {
    return this.maySend ? this.id : undefined;
  }

  /**
   * A subscriber does not read what the client reads if it speaks RESP 2, has a `keyPrefix` or another database, or its user may
   * not read. Subscribing works in all these cases. Rejects if nothing answers.
   */
  async #readsLikeClient(subscriber: SubscriberConnection, deadline: Deadline): Promise<boolean> {
    if (keyPrefixOf(subscriber) !== "") return false;
    const key = `${this.fullPrefix}:absent`;
    try {
      const [[subscriberInfo], [clientInfo]] = await Promise.all([
        subscriber.multi().clientInfo().getRange(key, 0, 0).pTTL(key).execAsPipeline(),
        this.send(deadline, { target: "any", build: (batch) => batch.clientInfo() }),
      ]);
      const database = databaseIn(subscriberInfo);
      return database !== undefined && database === databaseIn(clientInfo);
    } catch (error) {
      if (isErrorReply((error as Error).cause ?? error)) return false;
      throw error;
    }
  }
}

interface SingleClient extends BatchingClient {
  readonly isReady: boolean;
}

/** A client of one connection. */
export class Standalone extends SingleServer {
  readonly #client: SingleClient;

  constructor(client: RedisStoreClient, options: TopologyOptions) {
    super(client, options);
    this.#client = client as SingleClient;
    this.use(client as Connection);
  }

  protected isConnected(): boolean {
    return this.#client.isReady;
  }

  protected get maySend(): boolean {
    return this.#client.isReady;
  }

  protected exchange(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    const replies = this.connections.execute(deadline, this.#client.multi(), batch);
    return this.connections.receive(this.#client as Connection, batch, replies);
  }

  async discover(): Promise<readonly Primary[]> {
    // Again, since what is closed is not watched for any more.
    this.use(this.#client as Connection);
    return [this];
  }
}

interface PoolClient extends BatchingClient {
  /** Passes one of its connections. */
  execute<T>(run: (connection: Connection) => T): Promise<T>;
}

/** A pool. It does not say which connection a command will take, nor whether there is one: its own queue is used. */
export class Pool extends SingleServer {
  readonly #client: PoolClient;

  constructor(client: RedisStoreClient, options: TopologyOptions) {
    super(client, options, errorMonitor);
    this.#client = client as PoolClient;
  }

  protected isConnected(): undefined {}

  protected get maySend(): boolean {
    return this.#client.isOpen;
  }

  /**
   * A connection that is being opened may never be: Redis may not answer its first commands. The operation does not wait for that,
   * since others wait for it: what has not been sent by the deadline never will be.
   */
  protected async exchange(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    let isSent = false;
    const pool = this.connections.startingOn(this.#client, "execute", batch, async (connection, run) => {
      this.use(connection);
      this.connections.demoted?.leave(connection);
      // node-redis would write it together with its own first commands: nobody would know whether it has been sent.
      if (connection.isReady === false) await this.#whenOpened(connection);
      if (deadline.passed) throw new Error("It took too long to be sent");
      isSent = true;
      return run();
    });
    const replies = this.connections.execute(deadline, pool.multi(), batch);
    const unsent = new Promise<never>((_, reject) => {
      deadline.onPassed(() => {
        if (!isSent) reject(new Error("It took too long to be sent"));
      });
    });
    return Promise.race([replies, unsent]);
  }

  /** Without a limit: meanwhile, the pool gives the connection to no other operation. @throws if it is closed for good */
  #whenOpened(connection: Connection): Promise<true> {
    return until(new Deadline(), () => {
      if (connection.isOpen === false) throw this.readiness.closedError();
      return connection.isReady || undefined;
    });
  }

  async discover(): Promise<readonly Primary[]> {
    const use = (connection: Connection) => this.use(connection);
    await this.deadlines.run("discovery", () => this.#client.execute(use));
    return [this];
  }
}

function databaseIn(info: unknown): number | undefined {
  const { db } = info as { readonly db?: number };
  return db !== undefined && Number.isInteger(db) ? db : undefined;
}
