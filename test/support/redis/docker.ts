import { execFileSync } from "node:child_process";
import type { GenericContainer, StartedTestContainer } from "testcontainers";
import { whenAnswering } from "./ping.ts";
import { PASSING_ARGS, type RedisServer } from "./server.ts";

const INSIDE = 6379;

type Define = (port: number | { container: number; host: number }) => GenericContainer;

/** Whether there is an engine to talk to. */
export function dockerAnswers(): boolean {
  try {
    execFileSync("docker", ["info"], { stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
}

/** A server in a container of ours. The image can be chosen with TEST_REDIS_IMAGE. */
export async function startContainer(args: readonly string[] = []): Promise<RedisServer> {
  // Only here: it is large, and most runs need no container.
  const { GenericContainer, Wait } = await import("testcontainers");
  const image = process.env["TEST_REDIS_IMAGE"] ?? "redis:7-alpine";
  const define: Define = (port) =>
    new GenericContainer(image)
      .withExposedPorts(port)
      .withCommand(["redis-server", ...PASSING_ARGS, ...args])
      .withWaitStrategy(Wait.forListeningPorts());
  const server = new ContainerServer(define, await define(INSIDE).start());
  server.version = await whenAnswering(server.host, server.port, () => undefined);
  return server;
}

class ContainerServer implements RedisServer {
  readonly provider = "docker";
  version = "";
  readonly host: string;
  readonly port: number;
  readonly #define: Define;
  #container: StartedTestContainer | undefined;

  constructor(define: Define, container: StartedTestContainer) {
    this.#define = define;
    this.#container = container;
    this.host = container.getHost();
    this.port = container.getMappedPort(INSIDE);
  }

  get url(): string {
    return `redis://${this.host}:${this.port}`;
  }

  async pause(): Promise<void> {
    this.#docker("pause");
  }

  async resume(): Promise<void> {
    this.#docker("unpause");
  }

  async kill(): Promise<void> {
    if (this.#container === undefined) return;
    const container = this.#container;
    this.#container = undefined;
    execFileSync("docker", ["kill", container.getId()], { stdio: "ignore" });
    await container.stop();
  }

  /** A new container: the port that Docker chose would change if the old one were started again. */
  async restart(): Promise<void> {
    await this.kill();
    this.#container = await this.#define({ container: INSIDE, host: this.port }).start();
    await whenAnswering(this.host, this.port, () => undefined);
  }

  async stop(): Promise<void> {
    const container = this.#container;
    this.#container = undefined;
    await container?.stop({ timeout: 0 });
  }

  #docker(command: "pause" | "unpause"): void {
    if (this.#container) execFileSync("docker", [command, this.#container.getId()], { stdio: "ignore" });
  }
}
