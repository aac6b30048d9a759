import { deviceNamed } from "../device-name.ts";
import type { Upstream } from "../proxy.ts";
import { Visitor } from "../visitor.ts";
import { Refusal } from "./controls.ts";
import type { Device, MadeUpDevice, NodeAnswer } from "./device-views.ts";

/** What they say of themselves, as far as anybody reads it. */
const AGENTS = ["Firefox (Android)", "Safari (iPad)", "Edge (Windows)", "Safari (iPhone)", "Chrome (Mac OS)"];

interface LoggedIn extends Device {
  readonly visitor: Visitor;
  readonly digest: string;
}

/** Browsers besides the one that looks at the account page, each with a cookie of its own that it never gives up. */
export class MadeUpDevices {
  readonly #nodes: readonly Upstream[];
  readonly #devicesOf = new Map<string, Map<string, LoggedIn>>();
  #turn = 0;

  constructor(nodes: readonly Upstream[]) {
    this.#nodes = nodes;
  }

  /**
   * Logs the user in from one that is logged out, each time on another node.
   * @throws Refusal when there is none
   */
  async logIn(origin: string, user: string): Promise<Device> {
    if (user === "") throw new Refusal("Nobody is named who could log in.");
    const devices = this.#devicesOf.get(user) ?? new Map<string, LoggedIn>();
    const agent = await this.#unused(devices);
    if (agent === undefined) throw new Refusal("All other devices are logged in already.");
    const visitor = devices.get(agent)?.visitor ?? new Visitor(origin, "traffic", agent);
    const up = this.#nodes.filter(({ port }) => port !== undefined);
    const path = `/login?user=${encodeURIComponent(user)}`;
    const { seen, node, digest } = await visitor.request("POST", path, up[++this.#turn % up.length]?.number);
    if (seen !== user) throw new Refusal(`Nobody was logged in: ${seen}`);
    const device = { name: deviceNamed(agent), node, since: Date.now() };
    devices.set(agent, { ...device, digest, visitor });
    this.#devicesOf.set(user, devices);
    return device;
  }

  /** Those that have ever been logged in as this user, and what all nodes say to them now. */
  async of(user: string): Promise<MadeUpDevice[]> {
    const devices = [...(this.#devicesOf.get(user)?.values() ?? [])];
    return Promise.all(
      devices.map(async ({ visitor, ...device }) => ({ ...device, answers: await this.#answersTo(visitor) })),
    );
  }

  #answersTo(visitor: Visitor): Promise<NodeAnswer[]> {
    return Promise.all(
      this.#nodes.map(async ({ number }) => ({ node: number, says: await answerTo(visitor, number) })),
    );
  }

  async #unused(devices: ReadonlyMap<string, LoggedIn>): Promise<string | undefined> {
    for (const agent of AGENTS) {
      const visitor = devices.get(agent)?.visitor;
      // Any node will do: they agree, or the login's message reaches one that is behind.
      if (visitor === undefined || (await answerTo(visitor, undefined)) === "logged out") return agent;
    }
    return undefined;
  }
}

async function answerTo(visitor: Visitor, node: number | undefined): Promise<NodeAnswer["says"]> {
  try {
    const { status } = await visitor.request("GET", "/me", node, "look");
    return status === 200 ? "logged in" : status === 401 ? "logged out" : "no answer";
  } catch {
    return "no answer";
  }
}
