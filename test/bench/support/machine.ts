import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, loadavg } from "node:os";
import type { Placement } from "./placement.ts";

const require = createRequire(import.meta.url);

/** What a run was made on. Figures of different machines, or versions, cannot be compared. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly redis: string;
  readonly packages: Readonly<Record<string, string>>;
  readonly load: number;
  readonly date: string;
  /** Undefined if the kernel chooses the CPUs. */
  readonly placement?: Placement | undefined;
}

export function machine(redis: string, packages: readonly string[], placement?: Placement): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    node: process.versions.node,
    redis,
    packages: Object.fromEntries(packages.map((name) => [name, versionOf(name)])),
    load: loadavg()[0] ?? 0,
    date: new Date().toISOString().slice(0, 10),
    placement,
  };
}

export function describe({ cpu, cores, node, redis, packages, load, placement }: Machine): string {
  const versions = Object.entries(packages).map(([name, version]) => `${name} ${version}`);
  const places = placement && `; Redis on CPU ${placement.redis}, the stores on CPU ${placement.stores}`;
  return `${cpu}, ${cores} cores (load at the start ${load.toFixed(1)}${places ?? ""}), Node ${node}, ${redis}, ${versions.join(", ")}`;
}

function versionOf(name: string): string {
  // Not every package exports its package.json.
  const folder = require.resolve.paths(name)?.find((path) => {
    try {
      readFileSync(`${path}/${name}/package.json`);
      return true;
    } catch {
      return false;
    }
  });
  return (JSON.parse(readFileSync(`${folder}/${name}/package.json`, "utf8")) as { version: string }).version;
}
