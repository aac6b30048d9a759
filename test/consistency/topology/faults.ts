import { setTimeout as pause } from "node:timers/promises";
import type { NodeFault, PlannedFault, ServerFault } from "../fault-schedule.ts";
import { readByAll, stepClock } from "../faults.ts";
import { LEASE } from "../protocol.ts";
import type { Node } from "../rig.ts";
import { OWNERS, ownerOf } from "../schedule.ts";
import type { TopologyRig } from "./rig.ts";
import type { Server } from "./server.ts";

/** Makes one fault of those that there are with several servers, until all have recovered from it. */
export async function makeFault(
  rig: TopologyRig,
  fault: PlannedFault,
  sids: readonly string[],
): Promise<void> {
  const key = rig.prefix + sids[Math.floor(fault.chance * sids.length)];
  if (fault.node !== undefined) {
    const node = rig.nodes[fault.node] as Node;
    return NODE[fault.kind as NodeFault]?.(rig, node, fault, key);
  }
  const kind = fault.kind as ServerFault;
  await SERVERS[kind](rig, fault, key, sids);
  await rig.recovered();
}

type OfNode = (rig: TopologyRig, node: Node, fault: PlannedFault, key: string) => Promise<void>;

const NODE: Partial<Record<NodeFault, OfNode>> = {
  killSubscriber: (rig, node, fault) => killClients(rig, node, fault, true),
  killData: (rig, node, fault) => killClients(rig, node, fault, false),
  lostReplies,
  stopNode: async (_rig, node, { ms }) => {
    node.process.stop();
    await pause(ms);
    node.process.resume();
  },
  killNode: (rig, node) => rig.replace(node),
  stepClock: (_rig, node, fault) => stepClock(node, fault),
};

type OfServers = (
  rig: TopologyRig,
  fault: PlannedFault,
  key: string,
  sids: readonly string[],
) => Promise<void>;

/** Sentinels that get no answer for a second have another take over, which is another fault. */
const LONGEST_PAUSE_MS = 700;

const SERVERS: Record<ServerFault, OfServers> = {
  pauseClients: async (rig, { ms }, key) => {
    const [server, forMs] = [await rig.primaryOf(key), Math.min(ms, LONGEST_PAUSE_MS)];
    await server.run("CLIENT", "PAUSE", String(forMs), "ALL");
    await pause(forMs);
  },
  pauseWrites: async (rig, { ms }, key) => {
    const [server, forMs] = [await rig.primaryOf(key), Math.min(ms, LONGEST_PAUSE_MS)];
    await server.run("CLIENT", "PAUSE", String(forMs), "WRITE");
    await pause(forMs);
  },
  killPrimary: async (rig, { ms }, key) => {
    const server = await rig.primaryOf(key);
    await rig.kill(server);
    await rig.servers.tookOver(server.process);
    await pause(ms);
    await rig.restart(server);
  },
  // It continues as a primary that has been replaced, and executes what its connections have received meanwhile.
  stopPrimary: async (rig, { ms }, key) => {
    const { process } = await rig.primaryOf(key);
    await process.pause();
    await rig.servers.tookOver(process);
    await pause(ms);
    await process.resume();
  },
  failover: (rig, _fault, key) => rig.servers.failover(key),
  moveSlots: async (rig, { ms, chance }, key, sids) => {
    await rig.servers.moveSlot(key, ms / 2);
    await moveUsedSlot(rig, sids, chance, ms / 2);
  },
  moveIndex: (rig, { ms, chance }, _key, sids) => rig.servers.moveSlot(indexKey(rig, sids, chance), ms),
  returnSlot: returnUsedSlot,
};

/** One of the two keys in which the index has the sessions of some owner. */
function indexKey({ prefix }: TopologyRig, sids: readonly string[], chance: number): string {
  const owner = ownerOf(Math.floor(chance * OWNERS), Number.parseInt(sids[0] as string, 10));
  return `idx:{${prefix}${owner}}:${prefix.length}:ends`;
}

const IN_ONE_SLOT = /\{cold\}/;
/** So many of its sessions are deleted. */
const DELETED = 15;
/** So many of its sessions each node writes. */
const WRITTEN = 3;
const LIFE_MS = 1_200_000;
/** So many of other slots are read. */
const OTHERS = 60;
/** Then all nodes have them in memory. */
const READ_MS = 200;
/** Until the kernel has what was sent. */
const SENDING_MS = 5;
/** What an acknowledgement and the measuring may add to the lease. */
const SLACK_MS = 500;

/**
 * Moves the slot that many sessions are in. All nodes have them in memory when it gets its new primary; then one node deletes
 * some, and the others read on: nobody receives there what is published at the new primary.
 *
 * Each node writes some at the very moment, so that the write is redirected when the server has ended the subscription. Later
 * another writes them, too.
 */
async function moveUsedSlot(
  rig: TopologyRig,
  sids: readonly string[],
  chance: number,
  ms: number,
): Promise<void> {
  const moved = sids.filter((sid) => IN_ONE_SLOT.test(sid));
  const written = moved.slice(0, WRITTEN * rig.nodes.length);
  const write = (by: number) => {
    for (const [i, sid] of written.entries()) {
      const { process } = rig.nodes[(i + by) % rig.nodes.length] as Node;
      process.perform("set", sid, { version: rig.nextVersion++, lifeMs: LIFE_MS });
    }
  };
  const readAll = async () => {
    readByAll(rig, moved);
    await pause(READ_MS);
  };
  await rig.servers.moveSlot(rig.prefix + moved[0], ms, readAll, () => write(0));
  write(1);
  await deleteAndRead(rig, moved.slice(-DELETED), chance, written);
}

/**
 * Takes the slot that many sessions are in from its primary, and gives it back, so that no node is subscribed to them any more.
 * All nodes have them in memory, and wait for replies when the notice of that arrives: node-redis takes it for one of these.
 */
async function returnUsedSlot(
  rig: TopologyRig,
  { chance }: PlannedFault,
  _key: string,
  sids: readonly string[],
): Promise<void> {
  const used = sids.filter((sid) => IN_ONE_SLOT.test(sid));
  readByAll(rig, used);
  await pause(READ_MS);
  const others = sids.filter((sid) => !IN_ONE_SLOT.test(sid)).slice(-OTHERS);
  await rig.servers.returnSlot(rig.prefix + used[0], () => readByAll(rig, others));
  await deleteAndRead(rig, used.slice(0, DELETED), chance);
}

/** One node deletes sessions, and later than a lease, all nodes read them, and others. */
async function deleteAndRead(
  rig: TopologyRig,
  sids: readonly string[],
  chance: number,
  others: readonly string[] = [],
): Promise<void> {
  const { process } = rig.nodes[Math.floor(chance * rig.nodes.length)] as Node;
  for (const sid of sids) process.perform("destroy", sid);
  for (let i = 0; i < 2; i++) {
    await pause(LEASE.cluster.leaseMs + SLACK_MS);
    readByAll(rig, [...sids, ...others]);
  }
}

/**
 * A primary is stopped while the node sends, and ends the node's connections as soon as it continues: it has executed by then what
 * was sent, and has not answered.
 */
async function lostReplies(rig: TopologyRig, node: Node, { ms }: PlannedFault, key: string): Promise<void> {
  try {
    const server = await rig.primaryOf(key);
    const mine = (await server.clients()).filter(
      ({ name, isSubscriber }) => name === node.settings.name && !isSubscriber,
    );
    await server.process.pause();
    await pause(ms);
    const killed = Promise.allSettled(mine.map(({ id }) => server.run("CLIENT", "KILL", "ID", id)));
    await pause(SENDING_MS);
    await server.process.resume();
    await killed;
  } catch (error) {
    // No primary is known while there is an election.
    rig.note(-1, "not killed", String(error));
  }
}

/** The node's connections of that kind: to all servers, or to one. */
async function killClients(
  rig: TopologyRig,
  node: Node,
  { chance }: PlannedFault,
  isSubscriber: boolean,
): Promise<void> {
  const { name } = node.settings;
  const one = Math.floor(chance * 2 * rig.all.length);
  const isMine = (client: { name: string }) => client.name === name || client.name === `${name}:subscriber`;
  const kill = async (server: Server) => {
    for (const client of await server.clients()) {
      if (isMine(client) && client.isSubscriber === isSubscriber)
        await server.run("CLIENT", "KILL", "ID", client.id);
    }
  };
  for (const [i, server] of rig.all.entries()) {
    // One may be dead, which kills them just as well.
    if (one >= rig.all.length || one === i)
      await kill(server).catch((error: unknown) => rig.note(-1, "not killed", String(error)));
  }
}
