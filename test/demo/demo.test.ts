import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { Demo, PATIENCE } from "../support/demo.ts";

interface NodeAddress {
  readonly pid: number;
  readonly port: number;
}

async function nodesBehind(origin: string): Promise<NodeAddress[]> {
  const answers = ["1", "2", "3"].map((node) =>
    fetch(`${origin}/stats`, { headers: { "x-demo-node": node } }),
  );
  return Promise.all(answers.map(async (answer) => (await (await answer).json()) as NodeAddress));
}

async function isListening(port: number): Promise<boolean> {
  return fetch(`http://127.0.0.1:${port}/stats`).then(
    () => true,
    () => false,
  );
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("the demo", () => {
  const started: Demo[] = [];
  const start = (port: number, ...args: string[]) => {
    const demo = new Demo({ port, args });
    started.push(demo);
    return demo;
  };
  afterEach(async () => {
    for (const demo of started.splice(0)) {
      demo.process.kill("SIGKILL");
      await demo.exitCode();
    }
  });

  test("--once plays the script, each step sees what it should, and it ends by itself", async () => {
    const demo = start(0, "--once");
    const exitCode = await demo.exitCode();
    const { output } = demo;
    expect(exitCode, output).toBe(0);
    expect(output).toMatch(/ 1 +laptop +POST \/login\?user=ada +1 +– +[1-9]\d* +[\d.]+ ms +ada +✓/);
    expect(output).toMatch(/ 2 +laptop +GET {2}\/me +2 +miss +[1-9]\d* +[\d.]+ ms +ada +✓/);
    expect(output).toMatch(/ 3 +laptop +GET {2}\/me +2 +hit +0 +[\d.]+ ms +ada +✓/);
    expect(output).toMatch(/ 8 +laptop +GET {2}\/me +1 +miss +[1-9]\d* +[\d.]+ ms +ada, dark theme +✓/);
    expect(output).toMatch(
      / 23 +laptop +GET {2}\/devices +1 +hit +[1-9]\d* +[\d.]+ ms +tablet, phone, this +✓/,
    );
    expect(output).toMatch(/ 24 +laptop +POST \/logout-others +1 +hit +[1-9]\d* +[\d.]+ ms +2 logged out +✓/);
    expect(output).toMatch(/ 30 +tablet +GET {2}\/me +3 +miss +[1-9]\d* +[\d.]+ ms +nobody +✓/);
    expect(output).toMatch(/ 33 +laptop +GET {2}\/me +3 +hit +0 +[\d.]+ ms +ada, dark theme +✓/);
    expect(output).toMatch(/ 38 +laptop +GET {2}\/me +3 +miss +[1-9]\d* +[\d.]+ ms +nobody +✓/);
    expect(output).toContain("17 of 30 reads (57 %) never reached Redis.");
    expect(output).not.toContain("✗");
    expect(output).not.toContain("\u001b");
    for (const line of output.split("\n")) expect(line.length, line).toBeLessThanOrEqual(100);
  });

  test("without --once it stays and answers, until SIGINT ends all its processes", async () => {
    const demo = start(0);
    const origin = await demo.origin();
    const answer = await fetch(`${origin}/me`, { headers: { "x-demo-node": "2" } });
    expect(answer.status).toBe(401);
    expect(answer.headers.get("x-demo-node")).toBe("2");
    expect(answer.headers.get("x-demo-session")).toBe("none");
    expect(answer.headers.get("x-demo-redis-commands")).toBe("0");
    expect((await fetch(`${origin}/me`, { headers: { "x-demo-node": "4" } })).status).toBe(400);
    // Any page can make a browser send this, with an <img>.
    expect((await fetch(`${origin}//`)).status).toBe(404);

    const nodes = await nodesBehind(origin);
    expect(new Set(nodes.map(({ pid }) => pid)).size).toBe(3);
    expect(nodes.every(({ pid }) => isRunning(pid))).toBe(true);

    demo.process.kill("SIGINT");
    expect(await demo.exitCode(), demo.output).toBe(0);
    expect(nodes.filter(({ pid }) => isRunning(pid))).toEqual([]);
  });

  test("its nodes end even when it is killed", async () => {
    const demo = start(0);
    const nodes = await nodesBehind(await demo.origin());
    demo.process.kill("SIGKILL");
    await demo.exitCode();
    // Nobody may be there to collect an orphan's exit status, so its pid proves nothing; its port does.
    for (const { port } of nodes) await expect.poll(() => isListening(port), PATIENCE).toBe(false);
  });

  test("it takes another port when its own is taken", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const demo = start(port, "--once");
    const exitCode = await demo.exitCode();
    other.close();
    expect(exitCode, demo.output).toBe(0);
    expect(demo.output).toContain(`(port ${port} is taken)`);
  });
});
