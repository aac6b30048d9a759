import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { atExit } from "./at-exit.ts";

const POLICY = "/usr/sbin/policy-rc.d";
const KEPT = `${POLICY}.kept-by-tests`;

/** Whether packages can be installed here without asking anybody. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
}

/** Installs Debian's redis-server, as a program only: the service that comes with it is not started. */
export function installRedis(): void {
  console.log("No Redis found: installing the package redis-server with apt-get (no service is started).");
  const forgetExit = atExit(allowServices);
  forbidServices();
  try {
    apt("update", "-qq");
    apt("install", "-y", "-qq", "--no-install-recommends", "redis-server");
  } finally {
    forgetExit();
    allowServices();
  }
}

function apt(...args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  execFileSync("apt-get", args, { stdio: ["ignore", "ignore", "inherit"], env });
}

/** Debian asks this program before it starts a service; 101 is "no". */
function forbidServices(): void {
  // What is kept already was kept by a run that was killed: it is the machine's, and the one in its place is ours.
  if (existsSync(POLICY) && !existsSync(KEPT)) renameSync(POLICY, KEPT);
  writeFileSync(POLICY, "#!/bin/sh\nexit 101\n");
  chmodSync(POLICY, 0o755);
}

function allowServices(): void {
  rmSync(POLICY, { force: true });
  if (existsSync(KEPT)) renameSync(KEPT, POLICY);
}
