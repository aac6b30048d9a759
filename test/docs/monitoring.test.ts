import { readFileSync } from "node:fs";
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { collectStoreMetrics } from "../../lib/prometheus.ts";
import { CACHE_STATS, CLUSTER_STATS, type Stat } from "../../lib/reporting/counters.ts";
import { pages } from "./markdown.ts";

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

test.each(pages())("$path names only metrics that are exported", ({ text }) => {
  expect(exported()).toEqual(expect.arrayContaining(metricsIn(text)));
});

describe("the table of stats in docs/guides/monitoring.md", () => {
  const [, section = ""] = textOf("guides/monitoring.md").split("\n## Stats\n");
  const [table = ""] = section.split("\n## ");
  const rows = [...table.matchAll(/^\| `(\w+)`<br>.*$/gm)].map(([row, name = ""]) => ({ name, row }));

  test("has a row for each stat, and for no other, those of the cache first", () => {
    // A quotient, a label and a word: they have no metric that is just their value, and so no row in the code.
    const cache = [...Object.keys(CACHE_STATS), "hitRate"];
    const cluster = [...Object.keys(CLUSTER_STATS), "nodeId", "state"];
    const names = rows.map(({ name }) => name);
    expect(names.toSorted()).toEqual([...cache, ...cluster].sort());
    expect(names.slice(0, cache.length).sort()).toEqual(cache.sort());
    expect(table).toContain(
      `The stats from \`${names[0]}\` to \`${names[cache.length - 1]}\` are in \`cacheStats\``,
    );
  });

  test.each(Object.entries<Stat>({ ...CACHE_STATS, ...CLUSTER_STATS }))(
    "says what %s is, its metrics, and what is normal",
    (name, { metric, otel, kind, nullable = false }) => {
      const row = rows.find((each) => each.name === name)?.row ?? "";
      const names = [name, metric, otel.name].map((code) => `\`${code}\`<br>`).join("");
      const code = `| ${names}${kind}, \`${otel.unit}\` | `;
      expect(row.slice(0, code.length)).toBe(code);
      const [meaning = "", values] = row.slice(code.length).split(/ *\| */);
      expect(meaning).not.toBe("");
      expect(values).toMatch(/^\*\*[^*]+\*\*/);
      expect([meaning, /\bnull\b/i.test(meaning)]).toEqual([meaning, nullable]);
    },
  );
});
