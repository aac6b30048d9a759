import { mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");

/**
 * Lets the programs in a folder find what is installed here, and this package itself.
 * @param modules other packages of this repository, to be found under the names that they import
 */
export function linkPackages(folder: string, modules: Readonly<Record<string, string>> = {}): void {
  const installed = join(ROOT, "node_modules");
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(ROOT, join(folder, "node_modules/clustered-redis-store"));
  for (const name of readdirSync(installed).filter((name) => !name.startsWith("."))) {
    symlinkSync(join(installed, modules[name] ?? name), join(folder, "node_modules", name));
  }
}
