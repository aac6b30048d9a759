import type { Flight, LogLine, NodeNews, RequestNews } from "./news.ts";

type Line = Pick<LogLine, "text" | "tone">;

/** What the log says of it, if anything. The requests of the traffic are not logged: there would be no end to it. */
export function lineOf(news: NodeNews, hasTraffic: boolean): Line | undefined {
  switch (news.type) {
    case "request":
      return news.isTraffic ? undefined : requestLine(news);
    case "invalidate":
      return hasTraffic
        ? undefined
        : { tone: "plain", text: `received from ${news.from}: invalidate ${news.digest}` };
    case "live":
      return { tone: "good", text: "is live: its cache is in use" };
    case "suspect":
      return { tone: "warn", text: "is suspect: it reads from Redis until heartbeats return" };
    case "flush":
      return { tone: "warn", text: `dropped its cache: ${news.reason}` };
    case "resurrection":
      return { tone: "warn", text: `skipped a save of ${news.digest}, which has been logged out` };
    case "listening":
      return { tone: "good", text: "is up" };
    case "ended":
      return { tone: "bad", text: `${news.how}: its cache is gone, the sessions are in Redis` };
    case "snapshot":
    case "changed":
      return undefined;
  }
}

function requestLine({ method, path, status, read, commands, ms, seen }: RequestNews): Line {
  const session = read === "none" ? "no cookie" : read;
  const work = commands === 0 ? "no Redis command" : `${commands} Redis command${commands === 1 ? "" : "s"}`;
  const outcome = status >= 500 ? `error ${status}: ${seen}` : seen;
  const text = `${method} ${path}: ${session}, ${work}, ${ms.toFixed(1)} ms: ${outcome}`;
  return { text, tone: status >= 500 ? "bad" : "plain" };
}

/** What moves on the page because of it, if anything. */
export function flightOf(node: number, news: NodeNews): Flight | undefined {
  if (news.type === "invalidate") {
    const from = Number(/\d+$/.exec(news.from)?.[0]);
    return Number.isNaN(from) ? undefined : { kind: "received", node, from };
  }
  if (news.type !== "request" || news.status >= 500) return undefined;
  if (news.method === "POST" && news.status === 200) return { kind: "write", node };
  if (news.read === "hit") return { kind: "hit", node };
  return news.commands > 0 ? { kind: "read", node } : undefined;
}
