import { setTimeout as pause } from "node:timers/promises";
import { eventually } from "../../support/eventually.ts";
import type { Held } from "../check-rest.ts";
import { type PlannedFault, planFaults } from "../fault-schedule.ts";
import { isIndexed, type Options } from "../options.ts";
import type { RedisEvent } from "../redis-record.ts";
import { Rig } from "../rig.ts";
import { makeFault } from "./faults.ts";
import { Lineage } from "./lineage.ts";
import { type Role, Server } from "./server.ts";
import { type Servers, startServers } from "./servers.ts";

const LOOK_MS = 20;

/** Several servers that make one Redis, and the nodes, which connect to them without anything in between. */
export class TopologyRig extends Rig {
  readonly servers: Servers;
  readonly all: readonly Server[];
  readonly #lineage = new Lineage();
  readonly #roles = new Map<Server, Role & { readonly at: number }>();
  #sids: readonly string[] = [];
  /** Those that were started again, or not listened to for a moment: it is not known what they hold. */
  readonly #unknown = new Set<Server>();
  #isStopped = false;
  #watching: Promise<unknown> = Promise.resolve();

  private constructor(servers: Servers) {
    super();
    this.servers = servers;
    const ports = new Set(servers.processes.map(({ url }) => Number(new URL(url).port)));
    this.all = servers.processes.map((process) => new Server(process, this.prefix, this.clock, ports));
  }

  static async start(kind: "cluster" | "sentinel", options: Options): Promise<TopologyRig> {
    const rig = new TopologyRig(await startServers(kind));
    await Promise.all(rig.all.map((server) => server.connect()));
    rig.#watching = Promise.all(rig.all.map((server) => rig.#watch(server)));
    // Half of them wait for an election to be over, the others do not.
    const start = (index: number) =>
      rig.startNode(index, options, rig.servers.access, index % 2 === 0 ? 1_000 : 10_000);
    await Promise.all(Array.from({ length: options.nodes }, (_, index) => start(index)));
    return rig;
  }

  override planFaults(options: Options, seed: number, ms: number): readonly (readonly PlannedFault[])[] {
    return planFaults(options, seed, ms, this.servers.kinds(isIndexed(options, seed)));
  }

  override async begin(sids: readonly string[]): Promise<void> {
    this.#sids = sids;
    for (const { record } of this.all) record.follow(sids);
  }

  override makeFault(fault: PlannedFault, sids: readonly string[]): Promise<void> {
    return makeFault(this, fault, sids);
  }

  override async calm(): Promise<void> {
    await this.recovered();
  }

  override async quiet(ms: number): Promise<void> {
    while (this.all.some(({ record }) => record.quietMs < ms)) await pause(20);
  }

  override async read(sid: string): Promise<Held> {
    const key = this.prefix + sid;
    // On a busy machine an election may be going on even now.
    return (await eventually(() => this.#readNow(key), { what: `a primary has ${key}` })) as Held;
  }

  async #readNow(key: string): Promise<Held | undefined> {
    for (const [server, { primaryPort }] of this.#roles) {
      if (primaryPort !== undefined) continue;
      try {
        const [text, ttl] = await Promise.all([server.run("GET", key), server.run("PTTL", key)]);
        return {
          text: text === null ? null : String(text),
          endsAt: Number(ttl) >= 0 ? Date.now() + Number(ttl) : undefined,
        };
      } catch {
        // Its slot belongs to another.
      }
    }
    return undefined;
  }

  override async takeEvents(): Promise<readonly RedisEvent[]> {
    await Promise.all(this.all.map((server) => server.record.caughtUp((...args) => server.run(...args))));
    const records = this.all.flatMap(({ port, record }) =>
      record.events.splice(0).map((event) => ({ ...event, port })),
    );
    return this.#lineage.replay(records, this.#sids);
  }

  /** The primary that a key belongs to. */
  async primaryOf(key: string): Promise<Server> {
    const process = await this.servers.primaryOf(key);
    return this.all.find((server) => server.process === process) as Server;
  }

  async kill(server: Server): Promise<void> {
    await server.process.kill();
  }

  /** Starts a server again that was killed, and that is a replica now. */
  async restart(server: Server): Promise<void> {
    this.#unknown.add(server);
    await server.process.restart();
    await this.servers.rejoin(server.process);
  }

  /** Resolves when all servers agree, and each replica is known to hold what its primary does. */
  async recovered(): Promise<void> {
    await this.servers.settled();
    const isWhole = ({ primaryPort, isInSync }: Role) => primaryPort === undefined || isInSync;
    const isSeen = (server: Server) => {
      const role = this.#roles.get(server);
      return role !== undefined && isWhole(role) && !this.#unknown.has(server);
    };
    while (!this.all.every(isSeen)) await pause(LOOK_MS);
  }

  /** Looks again and again whether it is a primary, and notes what it holds whenever it has become a replica. */
  async #watch(server: Server): Promise<void> {
    for (; !this.#isStopped; await pause(LOOK_MS)) {
      const before = this.#roles.get(server);
      try {
        if (!server.record.isListening) {
          this.#unknown.add(server);
          await server.listen();
        }
        const role = await server.role();
        const at = this.clock.now();
        if (role.primaryPort !== before?.primaryPort || before === undefined) {
          const { primaryPort } = role;
          server.record.add({ kind: "role", sid: "", at, primaryPort, notBefore: before?.at ?? at });
          this.note(
            -1,
            `${server.port} is`,
            primaryPort === undefined ? "primary" : `${primaryPort}'s replica`,
          );
        }
        const isNew = role.primaryPort !== before?.primaryPort || !before?.isInSync;
        const isPrimary = role.primaryPort === undefined;
        if ((role.isInSync && isNew) || ((role.isInSync || isPrimary) && this.#unknown.has(server))) {
          await server.snapshot(this.#sids, this.prefix);
          this.#unknown.delete(server);
        }
        this.#roles.set(server, { ...role, at });
      } catch {
        // It is dead, or about to be.
        if (before !== undefined) this.#roles.set(server, { ...before, isInSync: false });
      }
    }
  }

  protected override async stopRedis(): Promise<void> {
    this.#isStopped = true;
    await this.#watching;
    for (const server of this.all) server.close();
    await this.servers.stop();
  }
}
