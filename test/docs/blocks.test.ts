import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { decodeMessage } from "../../lib/invalidation/messages.ts";
import { type Block, pages, ROOT } from "./markdown.ts";
import { complaintsAbout } from "./types.ts";

const all = pages();
const blocks = all.flatMap((page) => page.blocks);
const inLanguage = (...languages: string[]) => blocks.filter(({ language }) => languages.includes(language));

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as {
  name: string;
  scripts: Record<string, string>;
  devDependencies: Record<string, string>;
};

test("every block says what it is", () => {
  const known = ["js", "ts", "sh", "json", "yaml", "diff", "mermaid", "text", "dockerfile", "nginx"];
  const unknown = blocks.filter(({ language, place }) => {
    // Output, in which nothing is to be highlighted or checked.
    const isPlain = language === "" && /^docs\/guides\/(concurrency|consistency)\.md/.test(place);
    return !isPlain && !known.includes(language);
  });
  expect(unknown.map(({ place }) => place)).toEqual([]);
});

test("the compiler sees what is wrong in a block", () => {
  const block = (place: string, language: string, code: string): Block => {
    return { place, language, flags: new Map(), code };
  };
  const typed = 'import { LocalCache } from "clustered-redis-store";\nnew LocalCache({ maxsize: 1 });';
  const pool = "new ClusteredRedisStore({ client: await createClientPool({ url }).connect() });";
  const complaints = complaintsAbout([
    block("name", "js", "store.cacheStat;"),
    block("good", "js", "const { hits } = store.cacheStats;"),
    block("syntax", "js", "await store.get("),
    block("strict", "js", pool),
    block("field", "js", "req.session.usr;"),
    block("event", "js", 'store.on("invalidated", () => {});'),
    block("typed", "ts", typed),
  ]);
  expect(complaints).toEqual([
    expect.stringMatching(/^name: .*cacheStat/),
    expect.stringMatching(/^syntax: /),
    expect.stringMatching(/^strict: .*undefined/),
    expect.stringMatching(/^field: .*usr/),
    expect.stringMatching(/^event: .*invalidated/),
    expect.stringMatching(/^typed: .*maxsize/),
  ]);
});

test("all JavaScript and TypeScript compiles, against the types of this package", () => {
  const programs = inLanguage("js", "ts");
  expect(programs.length).toBeGreaterThan(20);
  expect(complaintsAbout(programs)).toEqual([]);
});

test("all JSON parses; the message on the page about the wire format is one", () => {
  for (const { place, code } of inLanguage("json")) {
    expect(() => JSON.parse(code), place).not.toThrow();
    if (place.includes("how-it-works")) expect(decodeMessage(code)).toMatchObject({ sids: ["abc"] });
  }
});

/** The documents of a block, as plain values. */
function parsedYaml({ place, code }: Block): unknown[] {
  return parseAllDocuments(code).map((document) => {
    expect([...document.errors, ...document.warnings], place).toEqual([]);
    return document.toJS();
  });
}

test("all YAML parses, and what waits for a shutdown waits long enough", () => {
  const documents = inLanguage("yaml").flatMap(parsedYaml) as Record<string, never>[];
  expect(documents.length).toBeGreaterThan(2);
  // The example gives requests 10 s and the store 5 s.
  const compose = documents.find((document) => "services" in document);
  expect(compose).toMatchObject({ services: { app: { stop_grace_period: "20s" } }, volumes: {} });
  const deployment = documents.find((document) => document["kind"] === "Deployment");
  expect(deployment).toMatchObject({
    spec: {
      template: {
        spec: {
          terminationGracePeriodSeconds: 30,
          containers: [{ lifecycle: { preStop: { sleep: { seconds: 5 } } } }],
        },
      },
    },
  });
});

test("the Redis of the deployments has a password, which the application receives", () => {
  const documents = inLanguage("yaml").flatMap(parsedYaml) as Record<string, unknown>[];
  const compose = documents.find((document) => "services" in document);
  expect(compose).toMatchObject({
    services: {
      redis: {
        environment: { REDISCLI_AUTH: expect.stringMatching(/^\$\{REDIS_PASSWORD}$/) },
        command: expect.stringMatching(
          /^redis-server --requirepass \$\{REDIS_PASSWORD:\?.*} --appendonly yes /,
        ),
      },
      app: {
        environment: { REDIS_URL: expect.stringMatching(/^redis:\/\/:\$\{REDIS_PASSWORD:\?.*}@redis:6379$/) },
      },
    },
  });
  const deployment = documents.find((document) => document["kind"] === "Deployment");
  const password = { name: "REDIS_PASSWORD", valueFrom: { secretKeyRef: expect.anything() } };
  const url = { name: "REDIS_URL", value: "redis://:$(REDIS_PASSWORD)@redis:6379" };
  const env = expect.arrayContaining([password, url]);
  expect(deployment).toMatchObject({ spec: { template: { spec: { containers: [{ env }] } } } });
});

test("what a shell is told to run is there", () => {
  const lines = inLanguage("sh").flatMap(({ place, code }) => {
    return code.split("\n").map((line) => ({ place, line: line.replace(/\s#.*/, "").trim() }));
  });
  expect(lines.length).toBeGreaterThan(20);
  const unknown = lines.filter(({ line }) => {
    const scripts = [...line.matchAll(/\bnpm (?:run ([\w:-]+)|(test))\b/g)].map(([, run, own]) => run ?? own);
    const files = line.match(/(?<![\w/])(?:test|docs|lib|scripts)\/[\w./-]+/g) ?? [];
    const words = (/\bnpm install ([^&]+)/.exec(line)?.[1] ?? "").split(/\s+/);
    const packages = words.filter((word) => word !== "" && !word.startsWith("--"));
    return (
      scripts.some((script) => !((script as string) in manifest.scripts)) ||
      files.some((file) => !existsSync(join(ROOT, file))) ||
      packages.some((name) => name !== manifest.name && !(name in manifest.devDependencies))
    );
  });
  expect(unknown).toEqual([]);
});
