import type { ClusterStats, LocalCacheStats } from "clustered-redis-store";
import type { Devices } from "./live/device-views.ts";

/** What came back, and what the demo's headers say it took. */
export interface Answer {
  readonly status: number;
  readonly node: number;
  readonly read: string;
  readonly commands: number;
  readonly ms: number;
  /** Of the id of the session that the visitor has now. */
  readonly digest: string;
  /** Who the application takes the visitor for, or what it says of that visitor's devices. */
  readonly seen: string;
}

interface Whose {
  readonly user: string | null;
  readonly theme: string | null;
}

export interface NodeStats {
  readonly cacheStats: LocalCacheStats;
  readonly clusterStats: ClusterStats;
}

/** A browser, as far as the demo needs one: it keeps its cookie, and never gives it up. */
export class Visitor {
  readonly #origin: string;
  readonly #kind: string;
  readonly #agent: string;
  #cookie: string | undefined;

  /**
   * @param kind what the header `x-demo-visitor` says of its requests
   * @param agent what the header `user-agent` says of it
   */
  constructor(origin: string, kind: "script" | "traffic", agent: string) {
    this.#origin = origin;
    this.#kind = kind;
    this.#agent = agent;
  }

  /**
   * @param node undefined to let the proxy choose
   * @param kind "look": this one is to show a page how things are, and nobody's visit
   */
  async request(method: string, path: string, node: number | undefined, kind?: "look"): Promise<Answer> {
    const headers = new Headers({ "x-demo-visitor": kind ?? this.#kind, "user-agent": this.#agent });
    if (this.#cookie !== undefined) headers.set("cookie", this.#cookie);
    if (node !== undefined) headers.set("x-demo-node", String(node));
    const start = performance.now();
    const response = await fetch(this.#origin + path, { method, headers });
    const text = await response.text();
    const ms = performance.now() - start;
    this.#cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? this.#cookie;
    return {
      status: response.status,
      node: Number(response.headers.get("x-demo-node")),
      read: response.headers.get("x-demo-session") ?? "?",
      commands: Number(response.headers.get("x-demo-redis-commands") ?? Number.NaN),
      ms,
      digest: response.headers.get("x-demo-digest") ?? "",
      seen: response.ok || response.status === 401 ? seenIn(text) : `${response.status}: ${text.trim()}`,
    };
  }

  async stats(node: number): Promise<NodeStats> {
    const response = await fetch(`${this.#origin}/stats`, { headers: { "x-demo-node": String(node) } });
    if (!response.ok) throw new Error(`GET /stats: ${response.status}: ${await response.text()}`);
    return (await response.json()) as NodeStats;
  }
}

function seenIn(json: string): string {
  const { user, theme, devices, ended } = JSON.parse(json) as Partial<Whose & Devices & { ended: number }>;
  if (ended !== undefined) return `${ended} logged out`;
  if (!user) return "nobody";
  if (devices !== undefined) return devices.map(({ isThis, name }) => (isThis ? "this" : name)).join(", ");
  return theme ? `${user}, ${theme} theme` : user;
}
