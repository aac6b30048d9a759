import { randomUUID } from "node:crypto";
import type { Deadlines } from "./deadlines.ts";
import type { CommandExecutor } from "./executor.ts";
import { asInteger, asText } from "./replies.ts";
import { HEARTBEAT } from "./scripts.ts";
import type { HeartbeatResult, Probe } from "./topology.ts";

/** Sends heartbeats to the only primary. */
export class Heartbeats {
  readonly probe: Probe;
  readonly #executor: CommandExecutor;
  readonly #deadlines: Deadlines;
  /** A key that never exists. */
  readonly #absentKey: string;

  constructor(executor: CommandExecutor, prefix: string, deadlines: Deadlines) {
    this.#executor = executor;
    this.#deadlines = deadlines;
    const key = prefix + randomUUID();
    this.#absentKey = key;
    this.probe = { name: "GETRANGE", acl: "+getrange", build: (batch) => batch.getRange(key, 0, 0) };
  }

  /** @throws SessionStoreError also if another reply than that to this heartbeat arrives */
  async send(channel: string, payload: string): Promise<HeartbeatResult> {
    const call = {
      script: HEARTBEAT,
      keys: [this.#absentKey],
      args: [],
      isInStep: (reply: unknown) => receiversIn(reply, payload) !== undefined,
    };
    const reply = await this.#deadlines.run("heartbeat", (deadline) =>
      this.#executor.runScript(deadline, call, { channel, message: payload }),
    );
    return receiversIn(reply, payload) === 0 ? "elsewhere" : "proof";
  }
}

/** How many subscribers received a heartbeat; undefined if this is not the reply to it. */
export function receiversIn(reply: unknown, payload: string): number | undefined {
  if (!Array.isArray(reply) || asText(reply[1]) !== payload) return undefined;
  return asInteger(reply[0]);
}
