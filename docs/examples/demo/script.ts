import type { Read } from "./measured.ts";

/** Ada's. Each has a cookie of its own. */
export type DeviceName = "laptop" | "phone" | "tablet";

/** A request, and what must come of it. */
export interface Step {
  readonly from: DeviceName;
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Undefined: the proxy's turn decides. */
  readonly node: number | undefined;
  readonly read: Read;
  /** Whether it must send Redis commands; if not, it may send none. */
  readonly needsRedis: boolean;
  readonly seen: string;
}

export interface Scene {
  readonly title: string;
  readonly steps: readonly Step[];
}

export const NODES = [1, 2, 3] as const;

/** The life of a session on three nodes, and how it outlives two others of the same user. */
export const SCRIPT: readonly Scene[] = [
  {
    title: "Ada logs in on node 1: her old session is deleted, a new one is written, and both are published.",
    steps: [post("/login?user=ada", 1, "none", "ada")],
  },
  {
    title: "The other nodes read from Redis once and cache her session; node 1 cached it when it wrote it.",
    steps: [
      me(2, "miss", "ada"),
      me(2, "hit", "ada"),
      me(3, "miss", "ada"),
      me(3, "hit", "ada"),
      me(1, "hit", "ada"),
    ],
  },
  {
    title: "She changes something on node 2.",
    steps: [post("/theme?name=dark", 2, "hit", "ada, dark theme")],
  },
  {
    title: "The other nodes have dropped their copies, and see the change.",
    steps: [
      me(1, "miss", "ada, dark theme"),
      me(1, "hit", "ada, dark theme"),
      me(3, "miss", "ada, dark theme"),
      me(3, "hit", "ada, dark theme"),
    ],
  },
  {
    title: "Now any node answers from its cache.",
    steps: Array.from({ length: 9 }, () => me(undefined, "hit", "ada, dark theme")),
  },
  {
    title: "She also logs in on a phone and a tablet: other cookies, on other nodes.",
    steps: [
      post("/login?user=ada", 2, "none", "ada", "phone"),
      post("/login?user=ada", 3, "none", "ada", "tablet"),
    ],
  },
  {
    title: "Her account lists all three, the newest first, from an index in Redis.",
    steps: [list(1, "tablet, phone, this")],
  },
  {
    title: "On the laptop she logs out the others: one script deletes them and publishes that.",
    steps: [post("/logout-others", 1, "hit", "2 logged out")],
  },
  {
    title: "The phone and the tablet are logged out on every node, also on those that they logged in on.",
    steps: [
      ...NODES.map((node) => me(node, "miss", "nobody", "phone")),
      ...NODES.map((node) => me(node, "miss", "nobody", "tablet")),
    ],
  },
  {
    title: "The laptop is still logged in on every node, and in every cache.",
    steps: [...NODES.map((node) => me(node, "hit", "ada, dark theme")), list(2, "this")],
  },
  {
    title: "She logs out on node 3.",
    steps: [post("/logout", 3, "hit", "nobody")],
  },
  {
    title: "She still sends her cookie, but no node accepts it.",
    steps: NODES.map((node) => me(node, "miss", "nobody")),
  },
];

function me(node: number | undefined, read: Read, seen: string, from: DeviceName = "laptop"): Step {
  return { from, method: "GET", path: "/me", node, read, needsRedis: read === "miss", seen };
}

/** The index is in Redis alone, so this asks Redis even if the session was in memory. */
function list(node: number, seen: string): Step {
  return { from: "laptop", method: "GET", path: "/devices", node, read: "hit", needsRedis: true, seen };
}

function post(path: string, node: number, read: Read, seen: string, from: DeviceName = "laptop"): Step {
  return { from, method: "POST", path, node, read, needsRedis: true, seen };
}
