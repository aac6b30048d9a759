import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { expect, onTestFinished, test } from "vitest";
import { installPacked, type PackedProject, ROOT } from "./packed.ts";

/** Bytes of the tarball, with docstrings and two module formats: 71,000 when this was written. What takes it further is a decision. */
const BUDGET = 200_000;

function pack(): PackedProject {
  const project = installPacked();
  onTestFinished(project.remove);
  return project;
}

test("the types are right for any way to import either entry", async () => {
  const { folder, packed } = pack();
  const tarball = new Uint8Array(readFileSync(join(folder, packed.filename)));
  const analysis = await checkPackage(createPackageFromTarballData(tarball));
  if (analysis.types === false) throw new Error("There are no types");
  expect(Object.keys(analysis.entrypoints)).toEqual([
    ".",
    "./prometheus",
    "./codecs",
    "./opentelemetry",
    "./package.json",
  ]);
  expect(analysis.problems).toEqual([]);
});

test(`the tarball has at most ${BUDGET} bytes`, () => {
  expect(pack().packed.size).toBeLessThanOrEqual(BUDGET);
});

test("no file, export or dependency is unused, and none is missing", () => {
  const output = (() => {
    const knip = join(ROOT, "node_modules/knip/bin/knip.js");
    try {
      return execFileSync(process.execPath, [knip, "--no-progress"], { cwd: ROOT, encoding: "utf8" });
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  })();
  expect(output).toBe("");
});

interface LockedPackage {
  readonly license?: string;
  readonly dev?: boolean;
  readonly peer?: boolean;
}

/** What is installed for work on this repository, on any platform, by its folder. */
function lockedPackages(): [folder: string, LockedPackage][] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8"));
  const found = Object.entries(packages as Record<string, LockedPackage>).filter(([folder]) => folder !== "");
  expect(found.length).toBeGreaterThan(100);
  return found;
}

/** The lock file lacks what old manifests say in their own way. */
function licenceOf(folder: string, { license }: LockedPackage): string | undefined {
  if (license !== undefined) return license;
  const manifest = JSON.parse(readFileSync(join(ROOT, folder, "package.json"), "utf8"));
  const licences: { type: string }[] = manifest.licenses ?? [];
  return licences.length === 0 ? undefined : licences.map(({ type }) => type).join(" OR ");
}

/** Licences that would oblige whoever works on this, or forbid them to. */
const FORBIDDEN = /GPL|SSPL|BUSL|Commons-Clause|-NC\b|UNLICENSED|SEE LICENSE/i;
/** Have none in their manifest, and MIT in their README. */
const MIT_ALL_THE_SAME = ["node_modules/pause"];

test("npm ci does not warn of a package that this Node cannot run", () => {
  const folder = mkdtempSync(join(tmpdir(), "install-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const name of ["package.json", "package-lock.json"])
    copyFileSync(join(ROOT, name), join(folder, name));
  const args = ["ci", "--dry-run", "--offline", "--no-audit", "--no-fund"];
  const { status, stderr } = spawnSync("npm", args, { cwd: folder, encoding: "utf8" });
  expect([status, stderr]).toEqual([0, ""]);
});

test("no dependency has a licence that binds users", () => {
  const problems = lockedPackages().flatMap(([folder, locked]) => {
    const licence = licenceOf(folder, locked);
    if (licence === undefined) return MIT_ALL_THE_SAME.includes(folder) ? [] : [`${folder}: none`];
    return FORBIDDEN.test(licence) ? [`${folder}: ${licence}`] : [];
  });
  expect(problems).toEqual([]);
});

test("nothing else is installed with it: all the rest is for development, or a peer", () => {
  const runtime = lockedPackages().filter(([, { dev, peer }]) => !dev && !peer);
  expect(runtime.map(([folder]) => folder)).toEqual([]);
});
