import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { publint } from "publint";
import { expect, inject, onTestFinished, test } from "vitest";
import { installPacked, ROOT } from "./packed.ts";

function install(modules?: Record<string, string>) {
  const project = installPacked(modules);
  onTestFinished(project.remove);
  return project;
}

function run(folder: string, program: string): string {
  return execFileSync(process.execPath, [program], {
    cwd: folder,
    encoding: "utf8",
    env: { ...process.env, REDIS_URL: inject("redisUrl") },
    timeout: 120_000,
  });
}

for (const redis of ["redis", "redis-v5"]) {
  test(`the tarball works with import and with require, beside ${redis}, and the process ends by itself`, () => {
    const { folder } = install({ redis });
    expect(run(folder, "use.mjs")).toMatch(/import: ok .* with prom-client/);
    expect(run(folder, "use.cjs")).toMatch(/require: ok .* with prom-client/);
  });

  test(`its types are exact for ES modules and for CommonJS, beside ${redis}`, () => {
    const { folder } = install({ redis });
    const tsc = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const compilerOptions = {
      strict: true,
      exactOptionalPropertyTypes: true,
      noEmit: true,
      target: "es2022",
      types: ["node"],
    };
    // The one file is an ES module whatever the package is, the other CommonJS because of it.
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "commonjs" }));
    const files = ["typed.mts", "typed.ts"];
    const config = { compilerOptions: { ...compilerOptions, module: "node16" }, files };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config));
    const output = (() => {
      try {
        return execFileSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" });
      } catch (error) {
        return (error as { stdout: string }).stdout;
      }
    })();
    expect(output).toBe("");
  });
}

test("loading the package leaves nothing that jest --detectOpenHandles would report", () => {
  const { folder } = install();
  const program = `
    const { createHook } = require("node:async_hooks");
    require("express-session");
    require("redis");
    const open = new Map();
    createHook({
      // Like jest: what has no hasRef is taken to keep the process alive until it is destroyed.
      init: (id, type, _, resource) => open.set(id, { type, resource }),
      destroy: (id) => open.delete(id),
    }).enable();
    require("clustered-redis-store");
    const left = [...open.values()].filter(({ resource }) => !("hasRef" in resource) || resource.hasRef());
    console.log(JSON.stringify(left.map(({ type }) => type)));`;
  writeFileSync(join(folder, "handles.cjs"), program);
  expect(run(folder, "handles.cjs")).toBe("[]\n");
});

test("imports as older versions of connect-redis had them fail with the messages of the guide", () => {
  const { folder } = install();
  const guide = readFileSync(join(ROOT, "docs/guides/migrating.md"), "utf8");
  const forms = [...guide.matchAll(/^\| [67].*? \| `(.+?)` \| `(\w+Error: .+?)` \|$/gm)];
  expect(forms).toHaveLength(3);
  for (const [i, [, form = "", message = ""]] of forms.entries()) {
    const isModule = form.startsWith("import");
    const program = form.replace("connect-redis", "clustered-redis-store");
    const file = `form-${i}.${isModule ? "mjs" : "cjs"}`;
    const session = isModule ? "" : 'const session = require("express-session");\n';
    writeFileSync(join(folder, file), `${session}${program}\nnew RedisStore({});\n`);
    const { status, stderr } = spawnSync(process.execPath, [file], { cwd: folder, encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toContain(message);
  }
});

test("without prom-client the package works, and only its entry for Prometheus does not load", () => {
  const { folder } = install();
  rmSync(join(folder, "node_modules/prom-client"));
  expect(run(folder, "use.mjs")).toContain("without prom-client");
  expect(run(folder, "use.cjs")).toContain("without prom-client");
});

test("publint finds nothing to say", async () => {
  const { folder } = install();
  const { messages } = await publint({
    pkgDir: join(folder, "node_modules/clustered-redis-store"),
    strict: true,
  });
  expect(messages).toEqual([]);
});

test("the tarball holds what users need and nothing else", () => {
  const { packed } = install();
  const tops = new Set(packed.files.map(({ path }) => path.split("/")[0]));
  expect([...tops].sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json"]);
});

test("there are no runtime dependencies", () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  expect(manifest.dependencies).toBeUndefined();
  expect(Object.keys(manifest.peerDependencies)).toEqual([
    "@opentelemetry/api",
    "express-session",
    "prom-client",
    "redis",
  ]);
  expect(manifest.peerDependenciesMeta).toEqual({
    "@opentelemetry/api": { optional: true },
    "prom-client": { optional: true },
  });
});

test("every import within the package leads to a file, types included", () => {
  const { folder } = install();
  const dist = join(folder, "node_modules/clustered-redis-store/dist");
  const files = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((name) =>
    /\.(js|d\.ts)$/.test(name),
  );
  const imports = files.flatMap((file) => {
    const text = readFileSync(join(dist, file), "utf8");
    const specifiers = [...text.matchAll(/(?:from |import\(|require\(|import )"(\.[^"]+)"/g)].map(
      ([, to]) => to as string,
    );
    return specifiers.map((to) => ({ file, to }));
  });
  expect(imports.length).toBeGreaterThan(files.length);
  const leadsNowhere = imports.filter(({ file, to }) => {
    const target = join(dist, dirname(file), to);
    const isDeclared = !file.endsWith(".d.ts") || existsSync(target.replace(/\.js$/, ".d.ts"));
    return !to.endsWith(".js") || !existsSync(target) || !isDeclared;
  });
  expect(leadsNowhere).toEqual([]);
});
