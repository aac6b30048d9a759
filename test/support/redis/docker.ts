import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import type { GenericContainer, StartedTestContainer } from "testcontainers";
import { atExit } from "./at-exit.ts";
import { onFreePort } from "./free-port.ts";
import { whenAnswering } from "./ping.ts";
import { commandLine, type RedisServer, type ServerSpec } from "./server.ts";

const FOLDER = "/redis-for-tests";
/** What a server says when it has its port, and a Sentinel. An answer alone could be that of another with the same port. */
const READY = /Ready to accept connections|Sentinel ID is/;
/** Tells our containers from all others, also one whose start has failed halfway. */
const LABEL = "clustered-redis-store.tests";

// Only when called: it is large, and most runs need no container.
const testcontainers = () => import("testcontainers");
const engine = async () => (await (await testcontainers()).getContainerRuntimeClient()).container;

/** Whether there is an engine to talk to. */
export async function dockerAnswers(): Promise<boolean> {
  return engine().then(
    () => true,
    () => false,
  );
}

/** A server in a container of its own. The image can be chosen with TEST_REDIS_IMAGE. */
export async function startContainer(spec: ServerSpec): Promise<RedisServer> {
  const { GenericContainer, Wait } = await testcontainers();
  const image = process.env["TEST_REDIS_IMAGE"] || "redis:7-alpine";
  return onFreePort(async (port) => {
    const id = randomUUID();
    remember(id);
    let output = "";
    try {
      const container = await reachable(new GenericContainer(image), port, spec)
        .withLabels({ [LABEL]: id })
        // The image's own way would run it as somebody who may not write here.
        .withUser("root")
        .withEntrypoint(["redis-server", ...commandLine(port, spec)])
        .withWorkingDir(FOLDER)
        .withCopyContentToContainer(filesOf(spec))
        .withLogConsumer((stream) => {
          stream.on("data", (chunk: string) => {
            output = (output + chunk).slice(-2_000);
          });
        })
        .withWaitStrategy(Wait.forLogMessage(READY))
        .start();
      const host = spec.atLoopback ? "127.0.0.1" : container.getHost().replace("localhost", "127.0.0.1");
      const url = `redis://${host}:${port}`;
      const { version } = await whenAnswering(url);
      return new ContainerServer(container, url, version, () => forget(id));
    } catch (error) {
      // What cannot be removed now is tried again at the end; this error is the one to report.
      await remove(id).catch(() => {});
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`No Redis in Docker (image ${image}): ${reason}\n${output}`.trimEnd(), {
        cause: error,
      });
    }
  });
}

/** Only those who must are in the machine's own network, as not every Docker gives it. */
function reachable(container: GenericContainer, port: number, { atLoopback }: ServerSpec): GenericContainer {
  if (atLoopback) return container.withNetworkMode("host").withCommand(["--bind", "127.0.0.1"]);
  // A port of our choice, for one that Docker chooses changes when the container is started again.
  const published = { container: port, host: port };
  return container.withExposedPorts(published).withCommand(["--protected-mode", "no"]);
}

function filesOf({ files = {} }: ServerSpec): { content: string; target: string }[] {
  return Object.entries(files).map(([name, content]) => ({ content, target: `${FOLDER}/${name}` }));
}

class ContainerServer implements RedisServer {
  readonly provider = "docker";
  readonly url: string;
  readonly version: string;
  readonly #container: StartedTestContainer;
  readonly #forget: () => void;
  #stopped: Promise<void> | undefined;

  constructor(container: StartedTestContainer, url: string, version: string, forget: () => void) {
    this.#container = container;
    this.url = url;
    this.version = version;
    this.#forget = forget;
  }

  async pause(): Promise<void> {
    if ((await this.#state()) === "running") await (await this.#handle()).pause();
  }

  async resume(): Promise<void> {
    if ((await this.#state()) === "paused") await (await this.#handle()).unpause();
  }

  async kill(): Promise<void> {
    if (!["running", "paused"].includes(await this.#state())) return;
    const handle = await this.#handle();
    await handle.kill();
    await handle.wait();
  }

  async restart(): Promise<void> {
    if (this.#stopped) throw new Error("This Redis has been stopped for good");
    await this.kill();
    await (await this.#handle()).start();
    await whenAnswering(this.url);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#remove();
    return this.#stopped;
  }

  async #remove(): Promise<void> {
    // Not the container's own stop(), which refuses one that has been killed.
    await (await this.#handle()).remove({ force: true, v: true });
    this.#forget();
  }

  async #state(): Promise<string> {
    if (this.#stopped) return "removed";
    return (await (await this.#handle()).inspect()).State.Status;
  }

  async #handle() {
    return (await engine()).getById(this.#container.getId());
  }
}

async function remove(id: string): Promise<void> {
  const client = await engine();
  const container = await client.fetchByLabel(LABEL, id, { status: ["created", "running", "exited"] });
  await container?.remove({ force: true, v: true });
  forget(id);
}

/** The labels of those of this process that are still there. */
const present = new Set<string>();
let forgetExit = () => {};

function remember(id: string): void {
  // For all together: one by one, a Cluster would take longer than a test runner waits for its worker.
  if (present.size === 0) forgetExit = atExit(removeNow);
  present.add(id);
}

function forget(id: string): void {
  if (present.delete(id) && present.size === 0) forgetExit();
}

/** The engine can only be asked asynchronously, which a process at its end cannot do: another does it. */
function removeNow(): void {
  const library = createRequire(import.meta.url).resolve("testcontainers");
  const script = `
    // A second Ctrl-C, from somebody impatient, would reach it, too.
    process.on("SIGINT", () => {});
    const { getContainerRuntimeClient } = require(${JSON.stringify(library)});
    (async () => {
      const { container: { dockerode } } = await getContainerRuntimeClient();
      const found = await dockerode.listContainers({ all: true, filters: { label: ["${LABEL}"] } });
      const ours = found.filter(({ Labels }) => ${JSON.stringify([...present])}.includes(Labels["${LABEL}"]));
      await Promise.all(ours.map(({ Id }) => dockerode.getContainer(Id).remove({ force: true, v: true })));
    })()`;
  spawnSync(process.execPath, ["-e", script], { stdio: "ignore", timeout: 20_000 });
}
