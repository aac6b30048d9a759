// Connections that subscribe and do nothing else, to stand for other processes: node subscribers.ts <Redis URL>
import { connect, type Socket } from "node:net";
import { serve } from "../support/rpc.ts";

const { hostname, port } = new URL(process.argv[2] as string);
const open: Socket[] = [];

function subscribe(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write("SUBSCRIBE fan\r\n"));
    socket.once("data", () => {
      // What comes from now on is only taken off the line.
      socket.resume();
      resolve(socket);
    });
    socket.once("error", reject);
  });
}

export const handlers = {
  /** Sees to it that there are so many. */
  be: async (count: number): Promise<void> => {
    for (const socket of open.splice(count)) socket.destroy();
    while (open.length < count) open.push(await subscribe());
  },
};

serve(handlers);
