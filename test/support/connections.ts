import { once } from "node:events";
import { createConnection, type Socket } from "node:net";
import { createClient } from "redis";
import { onTestFinished } from "vitest";
import { eventually } from "./eventually.ts";
import type { Client } from "./node.ts";

/** A connected client that tries again every 20 ms when its connection is lost. */
export async function connected(url: string): Promise<Client> {
  const client = createClient({ url, RESP: 2, socket: { reconnectStrategy: 20 } }) as unknown as Client;
  client.on("error", () => {});
  onTestFinished(() => client.destroy());
  await client.connect();
  return client;
}

/** What a socket has received, as text. */
export class Inbox {
  text = "";
  hasEnded = false;
  isClosed = false;
  readonly socket: Socket;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk) => {
      this.text += chunk.toString("latin1");
    });
    socket.on("end", () => {
      this.hasEnded = true;
    });
    socket.on("close", () => {
      this.isClosed = true;
    });
    socket.on("error", () => {});
  }

  async has(text: string): Promise<void> {
    await eventually(() => this.text === text, { what: `"${text}" has come, and nothing else` });
  }
}

/** A bare TCP connection. */
export async function connectedRaw(url: string): Promise<Inbox> {
  const { hostname, port } = new URL(url);
  const socket = createConnection({ host: hostname, port: Number(port), allowHalfOpen: true });
  onTestFinished(() => void socket.destroy());
  await once(socket, "connect");
  return new Inbox(socket);
}
