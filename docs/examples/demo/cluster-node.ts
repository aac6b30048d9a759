import { EventEmitter } from "node:events";
import { type FaultProxy, startProxy } from "../../../test/support/fault-proxy.ts";
import type { NodeNews } from "./live/news.ts";
import { NodeProcess } from "./node-process.ts";
import type { NodeSettings } from "./settings.ts";

/**
 * A place in the cluster: a process, which may be killed and started again, and the subscriber's way to Redis, which may be
 * cut. The way leads through a proxy of ours, so that nothing has to be done to the Redis, which may be somebody else's.
 */
export class ClusterNode extends EventEmitter<{ news: [NodeNews] }> {
  readonly number: number;
  readonly #settings: Omit<NodeSettings, "subscriberUrl">;
  #bus: FaultProxy | undefined;
  #process: NodeProcess | undefined;
  #isCut = false;
  #isStopped = false;

  constructor(settings: Omit<NodeSettings, "subscriberUrl">) {
    super();
    this.number = settings.node;
    this.#settings = settings;
  }

  /** Undefined when it does not listen. */
  get port(): number | undefined {
    return this.#process?.port;
  }

  get status(): "starting" | "up" | "down" {
    if (this.#process === undefined || this.#process.hasEnded) return "down";
    return this.#process.port === undefined ? "starting" : "up";
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Why the subscriber's way cannot be cut; null when it can. */
  get uncuttable(): string | null {
    if (new URL(this.#settings.redisUrl).protocol === "redis:") return null;
    return "The connection to this Redis is encrypted, and the demo cannot come between.";
  }

  /** Starts its process, unless that is running. It begins with a subscriber that is not cut. */
  async start(): Promise<void> {
    if (this.#isStopped || this.status !== "down") return;
    const { redisUrl } = this.#settings;
    if (this.uncuttable === null) this.#bus ??= await startProxy(redisUrl);
    // Ctrl-C may have come meanwhile.
    if (this.#isStopped) return this.stop();
    this.join();
    const subscriberUrl = this.#bus?.url ?? redisUrl;
    this.#process = new NodeProcess({ ...this.#settings, subscriberUrl }, (news) => this.emit("news", news));
    this.emit("news", { type: "changed" });
    await this.#process.listening;
  }

  /** As `kill -9` does. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** Cuts the subscriber off, until `join`. */
  cut(): void {
    if (this.#bus === undefined) return;
    this.#isCut = true;
    this.#bus.refuse();
    this.emit("news", { type: "changed" });
  }

  join(): void {
    this.#isCut = false;
    this.#bus?.accept();
    this.emit("news", { type: "changed" });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#process?.stop();
    await this.#bus?.close();
  }
}
