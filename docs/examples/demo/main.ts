// Three Express processes behind a round-robin proxy, one Redis, and a script that shows what the near cache does.
// `--once` ends after the script; its exit status is 0 only if every step saw what it should. Without it, the nodes stay
// up, and a web page shows them and takes orders.
import { randomUUID } from "node:crypto";
import { type RedisServer, startRedis } from "../../../test/support/redis-server.ts";
import { Closing } from "./closing.ts";
import { ClusterNode } from "./cluster-node.ts";
import { LivePage } from "./live/live-page.ts";
import { bold, dim, red } from "./paint.ts";
import { play } from "./play.ts";
import { startProxy } from "./proxy.ts";
import { NODES, SCRIPT } from "./script.ts";
import { suggestions } from "./suggestions.ts";
import { summary, Table } from "./table.ts";
import { Tally } from "./tally.ts";
import { Visitor } from "./visitor.ts";

const DEFAULT_PORT = 3000;

const closing = new Closing();
const interrupted = new Promise<void>((resolve) => {
  // Not once: npm and tsx may pass on the very signal that the terminal has sent already.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => resolve());
  // Whoever reads this through a pipe has seen enough.
  process.stdout.on("error", () => resolve());
});

// Until the script has passed.
process.exitCode = 1;
try {
  // Ctrl-C may come at any moment, and what is then still under way fails because all is stopped: nobody's business.
  await Promise.race([interrupted, run(process.argv.includes("--once"))]);
} catch (error) {
  console.error(red(error instanceof Error ? error.message : String(error)));
} finally {
  await closing.close();
}

async function run(once: boolean): Promise<void> {
  const redis = await startRedis();
  closing.add(() => redis.stop());
  console.log(`\n  ${bold("clustered-redis-store")}: three Express processes, one session\n`);
  console.log(`  server ${redis.version}, ${whence(redis)}`);

  const nodes = nodesOf(redis.url);
  const page = once ? undefined : new LivePage(nodes, redis);
  closing.add(() => page?.close());
  await startNodes(nodes);
  console.log(`  nodes  ${nodes.map(({ number, port }) => `${number} on port ${port}`).join(", ")}`);

  const preferredPort = Number(process.env["PORT"] || DEFAULT_PORT);
  const proxy = await startProxy(nodes, preferredPort, page?.answer);
  closing.add(() => proxy.close());
  const origin = `http://127.0.0.1:${proxy.port}`;
  const isSecondChoice = preferredPort !== 0 && proxy.port !== preferredPort;
  console.log(`  proxy  ${origin}${isSecondChoice ? dim(`  (port ${preferredPort} is taken)`) : ""}`);
  if (!once) console.log(`  page   ${bold(`${origin}/`)}  ${dim("the nodes and their memories, live")}`);
  console.log();

  const failures = await show(origin);
  page?.reset();
  if (failures === 0) process.exitCode = 0;
  if (once) return;
  console.log(suggestions(origin));
  await interrupted;
}

function nodesOf(redisUrl: string): ClusterNode[] {
  const shared = { redisUrl, run: randomUUID(), secret: randomUUID() };
  return NODES.map((node) => new ClusterNode({ node, ...shared }));
}

async function startNodes(nodes: readonly ClusterNode[]): Promise<void> {
  for (const node of nodes) closing.add(() => node.stop());
  await Promise.all(nodes.map((node) => node.start()));
}

async function show(origin: string): Promise<number> {
  const table = new Table();
  const tally = new Tally();
  console.log(table.head());
  for await (const happening of play(SCRIPT, (device) => new Visitor(origin, "script", device))) {
    tally.add(happening);
    console.log(table.line(happening));
  }
  console.log(`\n${summary(tally)}\n`);
  return tally.failures;
}

function whence({ provider }: RedisServer): string {
  if (provider === "url") return "the one at REDIS_URL";
  return provider === "docker" ? "in Docker for this run" : "started for this run";
}
