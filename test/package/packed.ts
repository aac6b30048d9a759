import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { atExit } from "../support/redis/at-exit.ts";

export const ROOT: string = resolve(import.meta.dirname, "../..");

export interface PackedProject {
  readonly folder: string;
  /** What npm says of the tarball. */
  readonly packed: {
    /** The tarball, in the folder. */
    readonly filename: string;
    readonly size: number;
    readonly unpackedSize: number;
    readonly files: { readonly path: string }[];
  };
  readonly remove: () => void;
}

interface Tarball {
  readonly path: string;
  readonly packed: PackedProject["packed"];
}

let tarball: Tarball | undefined;

/** Packs what is in dist/, which the test command has just built. */
function pack(): Tarball {
  const folder = mkdtempSync(join(tmpdir(), "tarball-"));
  atExit(() => rmSync(folder, { recursive: true, force: true }));
  const output = execFileSync("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", folder], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [packed] = JSON.parse(output) as [PackedProject["packed"]];
  return { path: join(folder, packed.filename), packed };
}

/**
 * An application's folder in which the package is installed as its users get it: from the tarball. Everything else that
 * it needs is this repository's own.
 */
export function installPacked(modules: Readonly<Record<string, string>> = {}): PackedProject {
  const folder = mkdtempSync(join(tmpdir(), "packed-"));
  // Once for each process: npm takes seconds for it.
  tarball ??= pack();
  const { path, packed } = tarball;
  copyFileSync(path, join(folder, packed.filename));
  const installed = join(folder, "node_modules/clustered-redis-store");
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", path, "--strip-components=1", "-C", installed]);
  for (const name of ["redis", "express-session", "prom-client", "@opentelemetry", "@types", "typescript"]) {
    symlinkSync(join(ROOT, "node_modules", modules[name] ?? name), join(folder, "node_modules", name));
  }
  cpSync(join(import.meta.dirname, "fixtures"), folder, { recursive: true });
  return { folder, packed, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
