import type { ClusterStats, LocalCacheStats } from "clustered-redis-store";

/** What came back, and what the demo's headers say it took. */
export interface Answer {
  readonly node: number;
  readonly read: string;
  readonly commands: number;
  readonly ms: number;
  /** Who the application takes the visitor for. */
  readonly seen: string;
}

export interface NodeStats {
  readonly cacheStats: LocalCacheStats;
  readonly clusterStats: ClusterStats;
}

/** A browser, as far as the demo needs one: it keeps its cookie, and never gives it up. */
export class Visitor {
  readonly #origin: string;
  readonly #kind: string;
  #cookie: string | undefined;

  /** @param kind what the header `x-demo-visitor` says of it */
  constructor(origin: string, kind: "script" | "traffic") {
    this.#origin = origin;
    this.#kind = kind;
  }

  /** @param node undefined to let the proxy choose */
  async request(method: string, path: string, node: number | undefined): Promise<Answer> {
    const headers = new Headers({ "x-demo-visitor": this.#kind });
    if (this.#cookie !== undefined) headers.set("cookie", this.#cookie);
    if (node !== undefined) headers.set("x-demo-node", String(node));
    const start = performance.now();
    const response = await fetch(this.#origin + path, { method, headers });
    const text = await response.text();
    const ms = performance.now() - start;
    this.#cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? this.#cookie;
    return {
      node: Number(response.headers.get("x-demo-node")),
      read: response.headers.get("x-demo-session") ?? "?",
      commands: Number(response.headers.get("x-demo-redis-commands") ?? Number.NaN),
      ms,
      seen: response.ok || response.status === 401 ? whoIs(text) : `${response.status}: ${text.trim()}`,
    };
  }

  async stats(node: number): Promise<NodeStats> {
    const response = await fetch(`${this.#origin}/stats`, { headers: { "x-demo-node": String(node) } });
    if (!response.ok) throw new Error(`GET /stats: ${response.status}: ${await response.text()}`);
    return (await response.json()) as NodeStats;
  }
}

function whoIs(json: string): string {
  const { user, theme } = JSON.parse(json) as { user: string | null; theme: string | null };
  if (user === null) return "nobody";
  return theme === null ? user : `${user}, ${theme} theme`;
}
