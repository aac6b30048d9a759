// Connections that subscribe and do nothing else, to stand for other processes: node subscribers.ts <Redis URL>
import { connect, type Socket } from "node:net";
import { serve } from "../support/rpc.ts";

const { hostname, port } = new URL(process.argv[2] as string);
const open: Socket[] = [];

/** Resolves when Redis has acknowledged all channels. @param sharded those of a Cluster's slots: all of one slot */
function subscribe(channels: readonly string[], sharded: readonly string[]): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const commands = [
      ["SUBSCRIBE", ...channels],
      ["SSUBSCRIBE", ...sharded],
    ].filter(({ length }) => length > 1);
    const text = commands.map((command) => `${command.join(" ")}\r\n`).join("");
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.setEncoding("latin1");
    let received = "";
    const onData = (text: string) => {
      received += text;
      const acknowledged = received.split("subscribe\r\n").length - 1;
      if (acknowledged < channels.length + sharded.length || !received.endsWith("\r\n")) return;
      socket.off("data", onData);
      // What arrives from now on is only read from the socket.
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
  /** To which the first ones also subscribe, since they cache the sessions. */
  readonly sessions: readonly string[];
  readonly caching: number;
}

export const handlers = {
  /** Replaces all connections. */
  be: async ({ count, shared, sessions, caching }: Subscribers): Promise<void> => {
    for (const socket of open.splice(0)) socket.destroy();
    const isSharded = sessions[0]?.includes("{") ?? false;
    for (let i = 0; i < count; i++) {
      const own = i < caching ? sessions : [];
      open.push(await (isSharded ? subscribe(shared, own) : subscribe([...shared, ...own], [])));
    }
  },
};

serve(handlers);
