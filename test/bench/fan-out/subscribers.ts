// Connections that subscribe and do nothing else, to stand for other processes: node subscribers.ts <Redis URL>
import { connect, type Socket } from "node:net";
import { serve } from "../support/rpc.ts";

const { hostname, port } = new URL(process.argv[2] as string);
const open: Socket[] = [];

/** Resolves when Redis has acknowledged all channels. */
function subscribe(channels: readonly string[]): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(`SUBSCRIBE ${channels.join(" ")}\r\n`));
    socket.setEncoding("latin1");
    let received = "";
    const onData = (text: string) => {
      received += text;
      if (received.split("$9\r\nsubscribe").length - 1 < channels.length || !received.endsWith("\r\n"))
        return;
      socket.off("data", onData);
      // What comes from now on is only taken off the line.
      socket.resume();
      resolve(socket);
    };
    socket.on("data", onData);
    socket.once("error", reject);
  });
}

export interface Subscribers {
  readonly count: number;
  /** To which all of them subscribe. */
  readonly shared: readonly string[];
  /** To which the first ones subscribe besides, since they cache the sessions. */
  readonly sessions: readonly string[];
  readonly caching: number;
}

export const handlers = {
  /** Replaces all connections. */
  be: async ({ count, shared, sessions, caching }: Subscribers): Promise<void> => {
    for (const socket of open.splice(0)) socket.destroy();
    for (let i = 0; i < count; i++) {
      open.push(await subscribe(i < caching ? [...shared, ...sessions] : shared));
    }
  },
};

serve(handlers);
