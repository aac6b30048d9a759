import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs";

const POLICY = "/usr/sbin/policy-rc.d";
const KEPT = `${POLICY}.kept-by-tests`;

/** Whether packages can be installed here without asking anybody. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync("/usr/bin/apt-get");
}

/** Installs Debian's redis-server, as a program only: the service that comes with it is not started. */
export function installRedis(): void {
  console.log("No Redis found: installing the package redis-server with apt-get (no service is started).");
  const apt = (...args: string[]) =>
    execFileSync("apt-get", args, {
      stdio: ["ignore", "ignore", "inherit"],
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    });
  // Debian asks this program before it starts a service; 101 is "no".
  if (existsSync(POLICY)) renameSync(POLICY, KEPT);
  writeFileSync(POLICY, "#!/bin/sh\nexit 101\n");
  chmodSync(POLICY, 0o755);
  try {
    apt("update", "-qq");
    apt("install", "-y", "-qq", "--no-install-recommends", "redis-server");
  } finally {
    rmSync(POLICY);
    if (existsSync(KEPT)) renameSync(KEPT, POLICY);
  }
}
