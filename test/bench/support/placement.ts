import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** On which CPUs processes run, as lists of `taskset`. */
export interface Placement {
  /** Redis, and whatever is not measured. */
  readonly redis: string;
  /** The processes of the stores. */
  readonly stores: string;
}

/**
 * Redis gets the first of the CPUs that this process may use, and the stores the others, as if Redis had a machine of its own. The
 * kernel alone sometimes runs both on one CPU, which halves a round trip and takes what Redis does from the store, and sometimes
 * not: then the same run gives two results.
 * @returns undefined without Linux, `taskset` or a second CPU: the kernel decides
 */
export function placement(): Placement | undefined {
  if (process.platform !== "linux" || spawnSync("taskset", ["--version"]).status !== 0) return undefined;
  const status = readFileSync("/proc/self/status", "utf8");
  const [, allowed = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status) ?? [];
  const [first, ...others] = allowed.split(",").flatMap((range) => {
    const [from = 0, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
  return first === undefined || others.length === 0
    ? undefined
    : { redis: String(first), stores: others.join(",") };
}

/** Moves a process with all its threads. What it starts from then on runs there as well. */
export function place(pid: number, cpus: string): void {
  const { status, stderr } = spawnSync("taskset", ["-a", "-p", "-c", cpus, String(pid)]);
  if (status !== 0) throw new Error(`taskset: ${String(stderr).trim()}`);
}
