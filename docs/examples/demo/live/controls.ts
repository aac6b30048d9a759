import type { RedisServer } from "../../../../test/support/redis-server.ts";
import type { ClusterNode } from "../cluster-node.ts";
import type { Hub, Surroundings } from "./hub.ts";
import { Traffic } from "./traffic.ts";

/** Redis resumes by itself if nobody presses the button. */
const LONGEST_PAUSE_MS = 60_000;

/** An order that cannot be carried out, and why. */
export class Refusal extends Error {}

/** What the buttons of the page do, but for those that send a node a request. */
export class Controls {
  readonly #redis: RedisServer;
  readonly #traffic = new Traffic();
  #pause: NodeJS.Timeout | undefined;

  constructor(redis: RedisServer) {
    this.#redis = redis;
  }

  get surroundings(): Surroundings {
    const { version } = this.#redis;
    return {
      redis: { version, isPaused: this.#pause !== undefined, unpausable: this.#unpausable },
      hasTraffic: this.#traffic.isOn,
    };
  }

  get #unpausable(): string | null {
    if (this.#redis.provider !== "url") return null;
    return "This is the Redis at REDIS_URL: the demo has not started it, and will not stop it.";
  }

  /** @throws Refusal */
  async ofNode(node: ClusterNode, order: string | undefined, hub: Hub): Promise<void> {
    const { number, status, uncuttable } = node;
    if (order === "start") return node.start();
    if (status !== "up") throw new Refusal(`Node ${number} is not up.`);
    if (order === "kill") return node.kill();
    if (uncuttable !== null) throw new Refusal(uncuttable);
    if (order === "cut") {
      hub.say("has lost its subscriber: it receives no messages", "bad", number);
      return node.cut();
    }
    if (order !== "join") throw new Refusal(`Nodes know no order "${order}".`);
    hub.say("may reconnect its subscriber", "plain", number);
    node.join();
  }

  /** @throws Refusal */
  async ofRedis(order: string | undefined, hub: Hub): Promise<void> {
    if (this.#unpausable !== null) throw new Refusal(this.#unpausable);
    if (order === "resume") return this.#resume(hub);
    if (order !== "pause") throw new Refusal(`Redis knows no order "${order}".`);
    if (this.#pause !== undefined) return;
    this.#pause = setTimeout(() => void this.#resume(hub).catch(console.error), LONGEST_PAUSE_MS).unref();
    await this.#redis.pause();
    hub.say(`Redis stopped, for at most ${LONGEST_PAUSE_MS / 1000} s: it answers nothing`, "bad");
  }

  /** @throws Refusal */
  async ofTraffic(order: string | undefined, hub: Hub, origin: string): Promise<void> {
    if (order === "start") this.#traffic.start(origin);
    else if (order === "stop") await this.#traffic.stop();
    else throw new Refusal(`Traffic knows no order "${order}".`);
    hub.say(
      order === "start" ? "Traffic: five visitors log in, read, change and log out" : "Traffic stopped",
    );
  }

  async close(): Promise<void> {
    void this.#traffic.stop();
    if (this.#pause === undefined) return;
    clearTimeout(this.#pause);
    await this.#redis.resume();
  }

  async #resume(hub: Hub): Promise<void> {
    if (this.#pause === undefined) return;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    await this.#redis.resume();
    hub.say("Redis resumed", "good");
  }
}
