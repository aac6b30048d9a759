import type { SessionData } from "express-session";
import type { IndexBy, Serializer } from "../../lib/index.ts";
import { type Node, type Space, startNode } from "./node.ts";

/** Sessions are found by their user. */
export const indexBy: IndexBy = (session) => (session as { user?: string }).user;

/** A node whose sessions are found by their user. */
export function startIndexed(space: Space, options = {}): Promise<Node> {
  return startNode(space, { store: { indexBy, ...options } });
}

/** JSON that answers after a hook: what happens between reading a session and acting on it. */
export function hookedJson(hook: (session: SessionData) => Promise<unknown> | undefined): Serializer {
  const parse = async (text: string) => {
    const session = JSON.parse(text) as SessionData;
    await hook(session);
    return session;
  };
  return { parse, stringify: JSON.stringify };
}
