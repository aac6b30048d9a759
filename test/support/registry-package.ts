import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
/** Within the repository, so that the package finds its peers there. */
const FOLDER = fileURLToPath(new URL("../../build/packages/", import.meta.url));

export interface RegistryPackage {
  readonly name: string;
  readonly version: string;
  /** As in package-lock.json. */
  readonly integrity: string;
}

/** Imports a package that is not installed, and has no dependencies but peers. The first time, npm fetches it. */
export async function importFromRegistry<Module>(wanted: RegistryPackage): Promise<Module> {
  const folder = join(FOLDER, `${wanted.name}-${wanted.version}`);
  if (!existsSync(folder)) await unpack(wanted, folder);
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return import(pathToFileURL(join(folder, exports["."].import.default)).href);
}

async function unpack({ name, version, integrity }: RegistryPackage, folder: string): Promise<void> {
  mkdirSync(FOLDER, { recursive: true });
  const temporary = mkdtempSync(join(FOLDER, "unpacking-"));
  try {
    const args = [
      "pack",
      `${name}@${version}`,
      "--json",
      "--prefer-offline",
      "--pack-destination",
      temporary,
    ];
    const { stdout } = await run("npm", args, { shell: process.platform === "win32" });
    const [packed] = JSON.parse(stdout) as { filename: string; integrity: string }[];
    if (packed?.integrity !== integrity)
      throw new Error(`${name}@${version} has integrity ${packed?.integrity}`);
    await run("tar", ["-xzf", join(temporary, packed.filename), "-C", temporary]);
    // At once, whole: another test process may be doing the same.
    if (!existsSync(folder)) renameSync(join(temporary, "package"), folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
