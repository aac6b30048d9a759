import { createClient } from "redis";
import { eventually } from "../../support/eventually.ts";
import type { RedisServer } from "../../support/redis-server.ts";
import type { Clock } from "../clock.ts";
import { ServerRecord } from "./server-record.ts";

type Admin = ReturnType<typeof adminClient>;

/** Whose replica a server is, as it says itself. */
export interface Role {
  /** Undefined for a primary. */
  readonly primaryPort: number | undefined;
  /** Whether it is a replica that has all that its primary had when it connected. */
  readonly isInSync: boolean;
}

/** One of the servers, primary or replica: its process, the checker's connection to it, and the record of what it carries out. */
export class Server {
  readonly process: RedisServer;
  readonly port: number;
  readonly record: ServerRecord;
  readonly #admin: Admin;

  constructor(process: RedisServer, prefix: string, clock: Clock, serverPorts: ReadonlySet<number>) {
    this.process = process;
    this.port = Number(new URL(process.url).port);
    this.record = new ServerRecord(process.url, prefix, clock, serverPorts);
    this.#admin = adminClient(process.url);
  }

  async connect(): Promise<void> {
    await this.#admin.connect();
    await this.listen();
  }

  /** Begins to record; anew, after its connections have ended. */
  async listen(): Promise<void> {
    await this.record.listen();
    await eventually(() => this.#admin.isReady);
    // Those who were connected before were not heard to introduce themselves.
    for (const { address, name } of await this.clients()) this.record.introduced(address, name);
    // Of a replica of a Cluster one may read only so; any other server takes it for nothing.
    await this.run("READONLY").catch(() => {});
  }

  async run(...args: string[]): Promise<unknown> {
    return this.#admin.sendCommand(args);
  }

  async role(): Promise<Role> {
    const [role, , port, state] = (await this.run("ROLE")) as unknown[];
    if (String(role) === "master") return { primaryPort: undefined, isInSync: false };
    return { primaryPort: Number(port), isInSync: String(state) === "connected" };
  }

  async clients(): Promise<{ id: string; address: string; name: string; isSubscriber: boolean }[]> {
    const lines = String(await this.run("CLIENT", "LIST"))
      .trim()
      .split("\n");
    return lines.map((line) => {
      const field = (name: string) => new RegExp(`(?:^| )${name}=(\\S*)`).exec(line)?.[1] ?? "";
      return {
        id: field("id"),
        address: field("addr"),
        name: field("name"),
        isSubscriber: Number(field("sub")) > 0,
      };
    });
  }

  /** Notes what the server holds of each session, at its place among all that it carries out. */
  async snapshot(sids: readonly string[], prefix: string): Promise<void> {
    await Promise.all(
      sids.map((sid) =>
        this.record.snapshot(sid, () => this.run("GET", prefix + sid) as Promise<string | null>),
      ),
    );
  }

  close(): void {
    this.record.close();
    if (this.#admin.isOpen) this.#admin.destroy();
  }
}

function adminClient(url: string) {
  const client = createClient({
    url,
    name: "checker",
    socket: { reconnectStrategy: 50 },
    disableOfflineQueue: true,
  });
  client.on("error", () => {});
  return client;
}
