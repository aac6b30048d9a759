import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { collectStoreMetrics } from "../../lib/prometheus.ts";
import { CACHE_STATS, CLUSTER_STATS } from "../../lib/reporting/counters.ts";
import { STATS } from "../../lib/reporting/readable-stats.ts";
import { ROOT } from "./markdown.ts";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly templating: { readonly list: readonly { readonly name: string; readonly definition?: string }[] };
  readonly panels: readonly Panel[];
}

const DOCS = new URL("../../docs/", import.meta.url);
const textOf = (path: string) => readFileSync(new URL(path, DOCS), "utf8");
const dashboard = JSON.parse(textOf("monitoring/grafana-dashboard.json")) as Dashboard;
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** The metrics that a text names. Whole ones only: `clustered_redis_store_` alone is the prefix. */
function metricsIn(text: string): string[] {
  return [...new Set(text.match(/\bclustered_redis_store_\w+/g))].sort();
}

function exported(): string[] {
  const registry = new Registry();
  const store = { cacheStats: {}, clusterStats: {} } as Parameters<typeof collectStoreMetrics>[0];
  collectStoreMetrics(store, { register: registry });
  return registry
    .getMetricsAsArray()
    .map(({ name }) => name)
    .sort();
}

describe("the Grafana dashboard", () => {
  test("shows metrics that are exported", () => {
    const metrics = metricsIn(expressions.join("\n"));
    expect(metrics.length).toBeGreaterThan(0);
    expect(exported()).toEqual(expect.arrayContaining(metrics));
  });

  test("asks for the labels that there are, and for the chosen job, instance and store only", () => {
    const known = ["instance", "job", "state", "store"];
    const selectors = expressions.flatMap((expr) => expr.match(/\{[^}]*\}/g) ?? []);
    expect(selectors.length).toBeGreaterThan(0);
    for (const selector of selectors) {
      const labels = [...selector.matchAll(/(\w+)(?:!=|=~|=)/g)].map(([, label]) => label as string);
      expect(known).toEqual(expect.arrayContaining(labels));
      expect(labels).toEqual(expect.arrayContaining(["job", "instance", "store"]));
    }
    // Each metric has its selector: none shows more than was chosen.
    for (const expr of expressions) {
      expect(expr.match(/clustered_redis_store_\w+/g)?.length).toBe(expr.match(/\{/g)?.length);
    }
  });

  test("its counters are rates, and its gauges are not", () => {
    for (const expr of expressions) {
      for (const [, before, metric] of expr.matchAll(/(.{5})(clustered_redis_store_\w+)/g)) {
        expect([metric, before === "rate("]).toEqual([metric, metric?.endsWith("_total")]);
      }
    }
  });

  test("its variables are defined, and its panels have ids and places of their own", () => {
    const { list } = dashboard.templating;
    const variables = list.map(({ name }) => `$${name}`);
    const used = expressions.concat(list.map(({ definition = "" }) => definition)).join(" ");
    for (const [name] of used.matchAll(/\$[a-z]+/g)) expect(variables).toContain(name);

    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [i, { gridPos: a }] of panels.entries()) {
      expect(a.x + a.w).toBeLessThanOrEqual(24);
      for (const { gridPos: b, title } of panels.slice(i + 1)) {
        const overlaps = a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
        expect([title, overlaps]).toEqual([title, false]);
      }
    }
  });
});

test("the alerts are about metrics that are exported", () => {
  const metrics = metricsIn(textOf("monitoring/alerts.yml"));
  expect(metrics.length).toBeGreaterThan(0);
  expect(exported()).toEqual(expect.arrayContaining(metrics));
});

test("the guide lists every metric that is exported, and names no other", () => {
  expect(metricsIn(textOf("guides/monitoring.md"))).toEqual(exported());
});

test.each(Object.values({ ...CACHE_STATS, ...CLUSTER_STATS }))(
  "the guide says that $metric is a $kind",
  (stat) => {
    const row = new RegExp(`^\\| \`clustered_redis_store_${stat.metric}\` +\\| ${stat.kind} `, "m");
    expect(textOf("guides/monitoring.md")).toMatch(row);
  },
);

test("docs/guides/monitoring.md has a row for every metric of OpenTelemetry, with its unit", () => {
  const page = readFileSync(join(ROOT, "docs/guides/monitoring.md"), "utf8");
  const rows = STATS.map(({ kind, nullable, otel }) => {
    const name = kind === "counter" ? "counter" : nullable ? "gauge" : "up-down counter";
    return `| \`clustered_redis_store.${otel.name}\` | ${name} | \`${otel.unit}\` |`;
  });
  expect(rows.filter((row) => !page.includes(row))).toEqual([]);
});
