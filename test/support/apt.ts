import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit } from "./redis/at-exit.ts";

const POLICY = "/usr/sbin/policy-rc.d";
const KEPT = `${POLICY}.kept-by-tests`;
/** Test files that need the same program start at the same time, and apt-get fails where another is at work. */
const LOCK = join(tmpdir(), "apt-of-tests.lock");

/** Whether packages can be installed here without asking anybody. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
}

/** Installs a package of Debian's, as a program only: a service that comes with it is not started. */
export async function install(name: string): Promise<void> {
  const forgetExit = atExit(allowServices);
  forbidServices();
  try {
    await apt("update", "-qq");
    await apt("install", "-y", "-qq", "--no-install-recommends", name);
  } finally {
    forgetExit();
    allowServices();
  }
}

/** Not synchronous: it may take a minute, and a test runner ends a worker that is silent for so long. */
async function apt(...args: string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const child = spawn("flock", [LOCK, "apt-get", ...args], { stdio: ["ignore", "ignore", "inherit"], env });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`apt-get ${args.join(" ")} ended with exit status ${code}`);
}

/** Debian asks this program before it starts a service; 101 is "no". */
function forbidServices(): void {
  // What is kept already was kept by a run that was killed: it is the machine's, and the one in its place was made here.
  if (existsSync(POLICY) && !existsSync(KEPT)) renameSync(POLICY, KEPT);
  writeFileSync(POLICY, "#!/bin/sh\nexit 101\n");
  chmodSync(POLICY, 0o755);
}

function allowServices(): void {
  rmSync(POLICY, { force: true });
  if (existsSync(KEPT)) renameSync(KEPT, POLICY);
}
