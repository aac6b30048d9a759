// Redis at a distance: node proxy.ts <Redis URL>. In a process of its own, so that it shares no event loop with a contender.
import { startProxy } from "../support/fault-proxy.ts";
import { serve } from "./support/rpc.ts";

const proxy = await startProxy(process.argv[2] as string);

export const handlers = {
  /** A timer's finest grain is 1 ms, so the whole of it is put on the way back. */
  url: (delayMs: number): string => {
    proxy.delay("toClient", delayMs);
    return proxy.url;
  },
};

serve(handlers);
