import { createConnection } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

/** One command over a connection of its own; what came until it fell silent, or ended. */
function ask(
  host: string,
  port: number,
  command: string,
  complete: (reply: string) => boolean,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port });
    let reply = "";
    socket.setTimeout(2_000, () => socket.destroy(new Error(`${host}:${port} does not answer`)));
    socket.on("connect", () => socket.write(`${command}\r\n`));
    socket.on("data", (chunk) => {
      reply += chunk.toString();
      if (!complete(reply)) return;
      socket.destroy();
      resolve(reply);
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`${host}:${port} closed the connection`)));
  });
}

/** Waits until the server answers, and tells its version. `isDead` ends the waiting with its error. */
export async function whenAnswering(
  host: string,
  port: number,
  isDead: () => Error | undefined,
): Promise<string> {
  const end = performance.now() + 20_000;
  for (;;) {
    const dead = isDead();
    if (dead !== undefined) throw dead;
    try {
      await ask(host, port, "PING", (reply) => reply.startsWith("+PONG"));
      const info = await ask(host, port, "INFO server", (reply) => reply.includes("tcp_port"));
      const [, name, version] = /(redis|valkey)_version:(\S+)(?![\s\S]*valkey_version)/.exec(info) ?? [];
      return `${name} ${version}`;
    } catch (error) {
      if (performance.now() > end) throw error;
      await pause(20);
    }
  }
}
