import { randomUUID } from "node:crypto";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compiled } from "../support/compiled.ts";
import type { Held } from "./check-rest.ts";
import { Clock } from "./clock.ts";
import type { PlannedFault } from "./fault-schedule.ts";
import { NodeProcess } from "./node-process.ts";
import { hasSmallCache, isIndexed, type Options, STALE_MS } from "./options.ts";
import {
  type Access,
  type EventRecord,
  LEASE,
  labelOf,
  type NodeSettings,
  type OperationRecord,
  type PlannedOperation,
} from "./protocol.ts";
import type { RedisEvent } from "./redis-record.ts";

/** One node. What is between it and Redis outlives its process. */
export interface Node {
  readonly index: number;
  /** Those of this round. */
  settings: NodeSettings;
  process: NodeProcess;
  /** What it has still to do in this round, should it have to be started anew. */
  plan: { readonly startedAt: number; readonly operations: readonly PlannedOperation[] } | undefined;
}

/** A session that the index would hide. */
export interface Unindexed {
  readonly sid: string;
  readonly at: number;
  readonly owner: string;
  /** By how much its entry ends too early, in milliseconds; undefined if there is none. */
  readonly missingMs: number | undefined;
}

export interface Complaint {
  readonly node: number;
  readonly at: number;
  readonly text: string;
}

const SMALL_CACHE = 16;
/** The store under test, or a copy of it that is broken on purpose. */
const SOURCE = process.env["CONSISTENCY_LIBRARY"] ?? new URL("../../lib/index.ts", import.meta.url).href;
const LIBRARY = pathToFileURL(compiled(fileURLToPath(SOURCE))).href;

/** Everything that is checked: one Redis or several, the nodes, and what is needed to hurt them and to see what they do. */
export abstract class Rig {
  readonly clock = new Clock();
  readonly nodes: Node[] = [];
  readonly prefix: string;
  readonly channel: string;
  operations: OperationRecord[] = [];
  events: EventRecord[] = [];
  complaints: Complaint[] = [];
  /** The version of the next write that belongs to a fault: above all that are planned. */
  nextVersion = 2_000_000_000;

  constructor() {
    const id = randomUUID();
    this.prefix = `check:${id}:`;
    this.channel = `check:${id}`;
  }

  /** One list of faults for each that follow one another. */
  abstract planFaults(options: Options, seed: number, ms: number): readonly (readonly PlannedFault[])[];
  /** Sessions that there will be in this round. */
  abstract begin(sids: readonly string[]): Promise<void>;
  abstract makeFault(fault: PlannedFault, sids: readonly string[]): Promise<void>;
  /** Ends all faults. */
  abstract calm(): Promise<void>;
  /** Resolves when no session has changed for so long. */
  abstract quiet(ms: number): Promise<void>;
  /** What Redis holds, past all nodes. */
  abstract read(sid: string): Promise<Held>;
  /** The sessions of these whose index entry is missing, or ends before they do. */
  async auditIndex(_sids: readonly string[]): Promise<readonly Unindexed[]> {
    return [];
  }
  /** Deletes the index, and writes sessions that nobody can read. */
  async loseIndex(_owners: readonly string[]): Promise<void> {}
  /** What Redis has carried out since it was last asked for, up to now. */
  abstract takeEvents(): Promise<readonly RedisEvent[]>;
  protected abstract stopRedis(): Promise<void>;

  protected async startNode(
    index: number,
    options: Options,
    access: Access,
    commandTimeoutMs: number,
  ): Promise<Node> {
    const settings: NodeSettings = {
      index,
      clockOrigin: this.clock.origin,
      access,
      lease: LEASE[access.kind],
      prefix: this.prefix,
      channel: this.channel,
      library: LIBRARY,
      label: labelOf(index),
      name: `node-${index}`,
      merge: options.merge,
      asyncParse: index % 2 === 1,
      commandTimeoutMs,
      cacheTtlMs: options.cacheTtlMs,
      cacheSize: hasSmallCache(index) ? SMALL_CACHE : undefined,
      staleIfErrorMs: options.stale ? STALE_MS : 0,
      isIndexed: isIndexed(options, options.seed),
      isTracked: options.tracking,
      touchAfterMs: index % 3 === 0 ? undefined : 0,
    };
    const node = { index, settings, process: this.#spawn(settings), plan: undefined };
    this.nodes.push(node);
    this.nodes.sort((a, b) => a.index - b.index);
    await node.process.live();
    return node;
  }

  #spawn(settings: NodeSettings): NodeProcess {
    return new NodeProcess(settings, {
      heard: (records, events) => {
        for (const record of records) this.operations.push(record);
        for (const event of events) this.events.push(event);
      },
      complained: (text) => this.complain(settings.index, `node-${settings.index}: ${text}`),
    });
  }

  complain(node: number, text: string): void {
    this.complaints.push({ node, at: this.clock.now(), text });
  }

  /** Kills a node's process, and starts another in its place that goes on with its plan. */
  async replace(node: Node): Promise<void> {
    await node.process.kill();
    this.note(node.index, "killed");
    node.process = this.#spawn(node.settings);
    await node.process.live();
    this.note(node.index, "started anew");
    const { plan } = node;
    if (plan !== undefined) {
      node.process.play(plan.startedAt, this.clock.now() - plan.startedAt, plan.operations);
    }
  }

  /** For the next round: nodes that have an index, or none. */
  async setIndexed(isIndexed: boolean): Promise<void> {
    const others = this.nodes.filter(({ settings }) => settings.isIndexed !== isIndexed);
    await Promise.all(
      others.map((node) => {
        node.settings = { ...node.settings, isIndexed };
        node.plan = undefined;
        return this.replace(node);
      }),
    );
  }

  /** Notes something for the histories; of Redis if `node` is -1. */
  note(node: number, name: string, detail?: string): void {
    this.events.push({ node, at: this.clock.now(), name, ...(detail !== undefined && { detail }) });
  }

  async stop(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.process.kill()));
    await this.stopRedis();
  }
}
