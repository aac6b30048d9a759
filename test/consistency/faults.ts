import { setTimeout as pause } from "node:timers/promises";
import type { FaultProxy } from "../support/fault-proxy.ts";
import { CUTS, type NodeFault, type PlannedFault, type RedisFault, STEPS } from "./fault-schedule.ts";
import { LEASE, UNKNOWN_OWNER } from "./protocol.ts";
import type { Node, Rig } from "./rig.ts";
import { isShort } from "./schedule.ts";
import type { SingleRig, Ways } from "./single-rig.ts";

/** A span of time in which something was wrong. */
export interface FaultSpan {
  readonly kind: PlannedFault["kind"];
  readonly node: number | undefined;
  readonly from: number;
  readonly to: number;
}

/** Makes the faults of one lane of the plan, one after the other, each at its time. */
export async function makeFaults(
  rig: Rig,
  startedAt: number,
  faults: readonly PlannedFault[],
  sids: readonly string[],
  made: (span: FaultSpan) => void,
): Promise<void> {
  for (const fault of faults) {
    await pause(Math.max(0, startedAt + fault.at - rig.clock.now()));
    const from = rig.clock.now();
    rig.note(fault.node ?? -1, "fault", `${fault.kind} for ${fault.ms} ms`);
    await rig.makeFault(fault, sids);
    rig.note(fault.node ?? -1, "fault over", fault.kind);
    made({ kind: fault.kind, node: fault.node, from, to: rig.clock.now() });
  }
}

/** Makes one fault of those that there are with one Redis and proxies, until it is over. */
export async function makeFault(rig: SingleRig, fault: PlannedFault, sids: readonly string[]): Promise<void> {
  const node = fault.node === undefined ? undefined : (rig.nodes[fault.node] as Node);
  if (node !== undefined) {
    await NODE[fault.kind as NodeFault](rig, { ...rig.waysOf(node.index), node }, fault);
  } else await REDIS[fault.kind as RedisFault](rig, fault, sids);
}

/** What was swallowed leaves a hole, which TCP never does: such a connection must end. */
async function cutAndHeal(rig: SingleRig, ...proxies: readonly FaultProxy[]): Promise<void> {
  for (const proxy of proxies) {
    proxy.cut();
    await rig.heal(proxy);
  }
}

/** Keeps back what is on its way to the client. */
async function holdBack(rig: SingleRig, ms: number, ...proxies: readonly FaultProxy[]): Promise<void> {
  for (const proxy of proxies) proxy.hold("toClient");
  await pause(ms);
  for (const proxy of proxies) await rig.heal(proxy);
}

async function delay(rig: SingleRig, proxy: FaultProxy, ms: number, by: number): Promise<void> {
  proxy.delay("toClient", by);
  await pause(ms);
  await rig.heal(proxy);
}

type Target = Ways & { readonly node: Node };

const NODE: Record<NodeFault, (rig: SingleRig, target: Target, fault: PlannedFault) => Promise<void>> = {
  killSubscriber: (rig, { node }) => killClients(rig, `${node.settings.name}:subscriber`),
  killData: (rig, { node }) => killClients(rig, node.settings.name),

  muteMessages: async (rig, { bus }, { ms }) => {
    bus.swallow("toClient");
    await pause(ms);
    await cutAndHeal(rig, bus);
  },
  // The half that works still brings heartbeats; only a new connection is mute in this direction.
  muteSubscriber: async (rig, { bus }, { ms }) => {
    bus.swallow("toServer");
    bus.cut();
    await pause(ms);
    await cutAndHeal(rig, bus);
  },
  muteData: async (rig, { data }, { ms, chance }) => {
    data.swallow(chance < 0.5 ? "toServer" : "toClient");
    await pause(ms);
    await cutAndHeal(rig, data);
  },
  delayReplies: (rig, { data }, { ms, chance }) => delay(rig, data, ms, 20 + chance * 250),
  delayMessages: (rig, { bus }, { ms, chance }) => delay(rig, bus, ms, 20 + chance * 600),
  // So slow that a subscription takes most of the lease, which lasts all the same.
  slowSubscriber: async (rig, { bus }, { ms, chance }) => {
    bus.delay("toServer", 10 + chance * 150);
    bus.delay("toClient", 10 + chance * 150);
    await pause(ms);
    await rig.heal(bus);
  },
  holdRequests: async (rig, { data }, { ms }) => {
    data.hold("toServer");
    await pause(ms);
    await rig.heal(data);
  },
  holdReplies: (rig, { data }, { ms }) => holdBack(rig, ms, data),
  holdMessages: (rig, { bus }, { ms }) => holdBack(rig, ms, bus),
  // Within a reply, or within what is sent together.
  cutData: async (rig, { data }, { ms, chance }) => {
    const bytes = Math.floor(chance * 3_000);
    data.cutAfter(bytes % 2 === 0 ? "toClient" : "toServer", bytes);
    await pause(ms);
    await rig.heal(data);
  },
  cutMessage: async (rig, { bus }, { ms, chance }) => {
    bus.cutAfter("toClient", Math.floor(chance * 3_000));
    await pause(ms);
    await rig.heal(bus);
  },
  partition,
  longPartition: partition,
  stopNode: async (_rig, { node }, { ms }) => {
    node.process.stop();
    await pause(ms);
    node.process.resume();
  },
  killNode: (rig, { node }) => rig.replace(node),
  stepClock: (_rig, { node }, fault) => stepClock(node, fault),
  lateReplies: (rig, { data }, { ms }) => holdBack(rig, ms, data),
  lateAnswers: (rig, { data, bus }, { ms, chance }) =>
    chance < 0.5 ? holdBack(rig, ms, bus, data) : holdBack(rig, ms, data, bus),
  lateMessages: (rig, { bus }, { ms }) => holdBack(rig, ms, bus),
  // Sometimes they are executed, and their replies are lost.
  lateRequests: async (rig, { data }, { ms, chance }) => {
    data.hold("toServer");
    await pause(ms);
    if (chance < 0.5) {
      data.hold("toClient");
      data.release("toServer");
      await pause(20);
      data.cut();
    }
    await rig.heal(data);
  },
  // What was sent has been executed.
  lostReplies: async (rig, { data }, { ms }) => {
    data.hold("toClient");
    await pause(ms);
    await cutAndHeal(rig, data);
  },
  // Between a write and its message, if they are not one unit.
  cutWrites: async (rig, { data }, { ms, chance }) => {
    for (let i = 0; i < CUTS; i++) {
      data.cutBefore("toServer", "PUBLISH", 2 + Math.floor(chance * 4));
      await pause(ms / CUTS);
    }
    await rig.heal(data);
  },
  // On their connections, reads are late, and replies to writes are, while no message arrives.
  crossedReplies: async (rig, { data, bus }, { ms }) => {
    const { holdMessages, releaseReads, releaseWrites, end } = STEPS.crossedReplies;
    for (const areWritesLate of [false, true]) {
      data.hold("toServer", "GETRANGE");
      if (areWritesLate) data.hold("toClient", "EXEC");
      await pause(holdMessages * ms);
      bus.hold("toClient");
      await pause((releaseReads - holdMessages) * ms);
      data.release("toServer");
      await pause((releaseWrites - releaseReads) * ms);
      data.release("toClient");
      await pause((end - releaseWrites) * ms);
      await Promise.all([rig.heal(data), rig.heal(bus)]);
    }
  },
  // Touches are executed late, and for a while nothing else tells of it.
  lateTouches: async (rig, { data, bus }) => {
    const { execute, end } = STEPS.lateTouches;
    data.hold("toServer");
    await pause(execute);
    for (const proxy of [bus, data]) proxy.hold("toClient");
    data.release("toServer");
    await pause(end - execute);
    await Promise.all([rig.heal(data), rig.heal(bus)]);
  },
  // By the application, on the client that it shares with the store. From then on all replies are out of step.
  skippedReplies: (_rig, { node }) => node.process.skipReplies(),
};

async function partition(rig: SingleRig, { data, bus }: Ways, { ms, chance }: PlannedFault): Promise<void> {
  for (const proxy of [data, bus]) {
    proxy.hold("toServer");
    proxy.hold("toClient");
  }
  await pause(ms + 400);
  // Sometimes all that was under way still arrives, sometimes nothing of it.
  if (chance < 0.5) await cutAndHeal(rig, data, bus);
  else await Promise.all([rig.heal(data), rig.heal(bus)]);
}

const HOUR_MS = 3_600_000;

/** An hour ahead or behind, and then back, which is a step as well. */
export async function stepClock({ process }: Node, { ms, chance }: PlannedFault): Promise<void> {
  process.stepClock(chance < 0.5 ? HOUR_MS : -HOUR_MS);
  await pause(ms);
  process.stepClock(0);
}

const REDIS: Record<
  RedisFault,
  (rig: SingleRig, fault: PlannedFault, sids: readonly string[]) => Promise<void>
> = {
  stopRedis: async (rig, { ms }) => {
    await rig.redis.pause();
    await pause(ms);
    await rig.redis.resume();
  },
  pauseClients: async (rig, { ms }) => {
    await rig.direct.sendCommand(["CLIENT", "PAUSE", String(ms), "ALL"]);
    await pause(ms);
  },
  // Writes wait, reads go on; as long as hits are still served, but longer than some wait for their writes.
  pauseWrites: async (rig, { chance }) => {
    const ms = 220 + Math.floor(chance * 160);
    await rig.direct.sendCommand(["CLIENT", "PAUSE", String(ms), "WRITE"]);
    await pause(ms);
  },
  restartRedis: (rig) => rig.restart(),
  // For longer than the lease: what is served then was not verified by a primary.
  becomeReplica: async (rig, { ms, chance }, sids) => {
    const from = Math.floor(chance * READ_BY_ALL);
    const read = sids.filter((sid) => !isShort(sid)).slice(from, from + READ_BY_ALL);
    readByAll(rig, read);
    await pause(60);
    await rig.becomeReplica(async () => {
      await pause(LEASE.single.leaseMs + 350);
      readByAll(rig, read);
      await pause(ms + 150);
    });
  },
  // As a primary does that has lost its replicas; reads go on.
  refuseWrites: async (rig, { ms }) => {
    await rig.direct.sendCommand(["CONFIG", "SET", "min-replicas-to-write", "1"]);
    await pause(ms);
    await rig.direct.sendCommand(["CONFIG", "SET", "min-replicas-to-write", "0"]);
  },
  flushDb: async (rig) => {
    await rig.direct.sendCommand(["FLUSHDB"]);
  },
  // What no longer fits into it is reported as if it had changed.
  smallTable: async (rig, { ms, chance }) => {
    const size = 1 + Math.floor(chance * 40);
    await rig.direct.sendCommand(["CONFIG", "SET", "tracking-table-max-keys", String(size)]);
    await pause(ms);
    await rig.direct.sendCommand(["CONFIG", "SET", "tracking-table-max-keys", "1000000"]);
  },
  evictKeys: async (rig, { chance }, sids) => {
    const from = Math.floor(chance * sids.length);
    const keys = sids.slice(from, from + 10).map((sid) => rig.prefix + sid);
    await rig.direct.sendCommand(["DEL", ...keys]);
  },
  loseOwners: async (rig, _fault, sids) => {
    const owned = sids.filter((each) => each.includes("owned"));
    for (const sid of owned) await rig.write(writeOf(rig, sid, 1_200_000, { u: UNKNOWN_OWNER }));
    // Users of some of them come, and log out.
    const users = owned.map((sid, i) => [sid, rig.nodes[i % rig.nodes.length] as Node] as const).slice(0, 12);
    for (const [sid, { process }] of users) process.perform("get", sid);
    await pause(60);
    for (const [sid, { process }] of users) process.perform("destroy", sid);
  },
  /** As other programs do. */
  writeKeys: async (rig, { chance }, sids) => {
    const from = Math.floor(chance * sids.length);
    for (const sid of sids.slice(from, from + 3)) {
      if (isShort(sid)) continue;
      const lifeMs = 1_200_000 + Math.floor(chance * 100_000);
      const isDeletion = rig.nextVersion % 5 === 0;
      const write = writeOf(rig, sid, lifeMs);
      await rig.write(isDeletion ? ["DEL", rig.prefix + sid] : write);
    }
  },
  garbage: async (rig, { chance }, sids) => {
    const base = { version: 2, instanceId: "x", sequence: 1, nodeId: "x", prefix: rig.prefix, sentAt: 0 };
    const [sid] = sids.slice(Math.floor(chance * sids.length));
    const message = { type: "SessionDeleted", ...base, sids: [sid], reason: "destroy" };
    const texts = [
      "",
      "null",
      "{",
      "[]",
      '{"version":2}',
      JSON.stringify({ ...message, version: 1 }),
      JSON.stringify({ ...message, prefix: "another:" }),
      JSON.stringify({ ...message, sids: [1, null, {}] }),
      JSON.stringify(message),
      "x".repeat(50_000),
    ];
    // Those of heartbeats and of sessions.
    const channels = (await rig.direct.sendCommand([
      "PUBSUB",
      "CHANNELS",
      `${rig.channel}:*`,
    ])) as unknown as string[];
    const onChannels = ["1e9", "0", "2 x 1 x", "2 x 1"];
    for (let i = 0; i < 40; i++) {
      const flood = texts.flatMap((text) => [rig.direct.publish(rig.channel, text)]);
      const text = onChannels[i % onChannels.length] as string;
      for (const channel of channels) flood.push(rig.direct.publish(String(channel), text));
      await Promise.all(flood);
    }
  },
};

const READ_BY_ALL = 20;

/** All nodes read these sessions: whoever does not have them in memory does so then, and whoever has shows them. */
export function readByAll({ nodes }: Rig, sids: readonly string[]): void {
  for (const { process } of nodes) for (const sid of sids) process.perform("get", sid);
}

/** How another program writes a session. */
function writeOf(rig: SingleRig, sid: string, lifeMs: number, values: object = {}): string[] {
  const v = rig.nextVersion++;
  const expires = new Date(Date.now() + lifeMs);
  const cookie = { originalMaxAge: lifeMs, expires, httpOnly: true, path: "/" };
  const text = JSON.stringify({ cookie, v, w: -1, nested: { v, list: [v] }, ...values });
  return ["SET", rig.prefix + sid, text, "PX", String(lifeMs)];
}

/** Redis may be about to be restarted, which kills them just as well. */
async function killClients(rig: SingleRig, name: string): Promise<void> {
  try {
    const list = String(await rig.direct.sendCommand(["CLIENT", "LIST"]));
    for (const line of list.split("\n")) {
      if (!line.includes(` name=${name} `)) continue;
      const id = /\bid=(\d+)/.exec(line)?.[1];
      await rig.direct.sendCommand(["CLIENT", "KILL", "ID", String(id)]);
    }
  } catch (error) {
    rig.note(-1, "not killed", String(error));
  }
}
