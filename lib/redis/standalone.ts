import { type BatchingClient, type Connection, keyPrefixOf, type RedisStoreClient } from "./client.ts";
import { Deadline } from "./deadlines.ts";
import { closedError, until, whenConnected } from "./readiness.ts";
import { isErrorReply } from "./replies.ts";
import { SinglePrimary } from "./single-primary.ts";
import { subscriberFrom } from "./subscriber.ts";
import type { Batch, Primary, SubscriberConnection, SubscriberOptions, TopologyOptions } from "./topology.ts";

/** A client of one server, or a pool of them. */
interface StandaloneClient extends BatchingClient {
  /** Undefined for a pool, which does not say which connection a command will take: its own queue is used. */
  readonly isReady?: boolean;
  /** Of a pool: passes one of its connections. */
  execute?<T>(run: (connection: Connection) => T): Promise<T>;
}

/** A single Redis: whatever answers at its address. */
export class Standalone extends SinglePrimary implements Primary {
  readonly isUpToDate = true;
  readonly id = "";
  readonly #client: StandaloneClient;
  readonly #isPool: boolean;

  constructor(client: RedisStoreClient, options: TopologyOptions) {
    super(client, options);
    this.#client = client as StandaloneClient;
    this.#isPool = this.#client.isReady === undefined;
    this.connections.leaveFormerPrimaries(keyPrefixOf(client) + this.absentKey);
    if (!this.#isPool) this.use(client as Connection);
  }

  send(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    if (!this.#isConnected) {
      this.outage.asked();
      const connected = whenConnected(deadline, this.#client);
      return connected.then(() => this.#exchange(deadline, batch));
    }
    try {
      return this.#exchange(deadline, batch);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #exchange(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    if (this.#isPool) return this.#exchangeOnAny(deadline, batch);
    const replies = this.connections.execute(deadline, this.#client.multi(), batch);
    return this.connections.receive(this.#client as Connection, batch, replies);
  }

  /**
   * On a connection of the pool. One that is being opened may never be: Redis may not answer its first commands. The operation does not
   * wait for that, since others wait for it: what has not been sent by the deadline never will be.
   */
  async #exchangeOnAny(deadline: Deadline, batch: Batch): Promise<unknown[]> {
    let isSent = false;
    const pool = this.connections.startingOn(this.#client, "execute", batch, async (connection, run) => {
      this.use(connection);
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
      if (connection.isOpen === false) throw closedError(this.#client);
      return connection.isReady || undefined;
    });
  }

  async discover(): Promise<readonly Primary[]> {
    // Again, since what is closed is not watched for any more.
    const use = (connection: Connection) => this.use(connection);
    const using = this.#client.execute?.(use);
    if (using === undefined) use(this.#client as Connection);
    else await this.deadlines.run("discovery", () => using);
    return [this];
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
    return this.#isConnected ? this.id : undefined;
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

  get #isConnected(): boolean {
    return this.#client.isReady ?? this.#client.isOpen;
  }
}

function databaseIn(info: unknown): number | undefined {
  const { db } = info as { readonly db?: number };
  return db !== undefined && Number.isInteger(db) ? db : undefined;
}
