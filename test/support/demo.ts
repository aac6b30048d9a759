import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { expect, inject, vi } from "vitest";

export const PATIENCE = { timeout: 120_000, interval: 50 };

export interface DemoOptions {
  /** @default 0 (any) */
  readonly port?: number;
  readonly args?: readonly string[];
  /** Let it start a Redis of its own, which it may pause, instead of giving it the tests'. @default false */
  readonly ownRedis?: boolean;
}

/** The demo as a process, and what it has said so far. */
export class Demo {
  readonly process: ChildProcessByStdio<null, Readable, Readable>;
  output = "";

  constructor({ port = 0, args = [], ownRedis = false }: DemoOptions = {}) {
    const redis = ownRedis ? ownRedisOnly() : { REDIS_URL: inject("redisUrl"), TEST_REDIS: "url" };
    this.process = spawn(process.execPath, ["--import", "tsx", "docs/examples/demo/main.ts", ...args], {
      // With no pool's id, it takes no port of those from which this test has chosen one for it.
      env: { ...process.env, VITEST_POOL_ID: "0", ...redis, PORT: String(port) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
      });
    }
  }

  async exitCode(): Promise<number | null> {
    const { exitCode, signalCode } = this.process;
    if (exitCode === null && signalCode === null) await once(this.process, "close");
    return this.process.exitCode;
  }

  /** Where it listens, once the script is over and it stays. */
  async origin(): Promise<string> {
    await vi.waitFor(() => expect(this.output).toContain("Ctrl-C"), PATIENCE);
    const origin = /http:\/\/127\.0\.0\.1:\d+/.exec(this.output)?.[0];
    return origin ?? expect.fail(`no address in ${this.output}`);
  }
}

function ownRedisOnly(): NodeJS.ProcessEnv {
  const way = process.env["TEST_REDIS"];
  return { REDIS_URL: "", TEST_REDIS: way === "url" ? "" : way };
}
