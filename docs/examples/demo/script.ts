import type { Read } from "./measured.ts";

/** A request, and what must come of it. */
export interface Step {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Undefined: the proxy's turn decides. */
  readonly node: number | undefined;
  readonly read: Read;
  readonly seen: string;
}

export interface Scene {
  readonly title: string;
  readonly steps: readonly Step[];
}

export const NODES = [1, 2, 3] as const;

/** The life of a session on three nodes. */
export const SCRIPT: readonly Scene[] = [
  {
    title: "Ada logs in on node 1: the id she came with is deleted, a new one written, both are announced.",
    steps: [post("/login?user=ada", 1, "none", "ada")],
  },
  {
    title: "The other nodes ask Redis once, then they know her; node 1 knew her from writing.",
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
    title: "The other nodes have forgotten what they knew, and see the change.",
    steps: [
      me(1, "miss", "ada, dark theme"),
      me(1, "hit", "ada, dark theme"),
      me(3, "miss", "ada, dark theme"),
      me(3, "hit", "ada, dark theme"),
    ],
  },
  {
    title: "From now on she may be sent to any node.",
    steps: Array.from({ length: 9 }, () => me(undefined, "hit", "ada, dark theme")),
  },
  {
    title: "She logs out on node 3.",
    steps: [post("/logout", 3, "hit", "nobody")],
  },
  {
    title: "Her cookie is still sent, but no node knows it any more.",
    steps: NODES.map((node) => me(node, "miss", "nobody")),
  },
];

function me(node: number | undefined, read: Read, seen: string): Step {
  return { method: "GET", path: "/me", node, read, seen };
}

function post(path: string, node: number, read: Read, seen: string): Step {
  return { method: "POST", path, node, read, seen };
}
