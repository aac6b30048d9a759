import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { install } from "../apt.ts";
import { atExit } from "./at-exit.ts";
import { serverProgram } from "./cluster.ts";
import { onFreePort } from "./free-port.ts";
import { startProcess } from "./process.ts";

/** A Redis of ours that speaks TLS, with a certificate that only its own authority vouches for. */
export interface TlsRedis {
  /** Without TLS, for the test itself. */
  readonly plainUrl: string;
  readonly tlsUrl: string;
  /** The authority's certificate, for clients that are to trust it. */
  readonly ca: string;
  stop(): Promise<void>;
}

export async function startTlsRedis(): Promise<TlsRedis> {
  const folder = mkdtempSync(join(tmpdir(), "redis-tls-for-tests-"));
  const clean = () => rmSync(folder, { recursive: true, force: true });
  const forget = atExit(clean);
  if (spawnSync("openssl", ["version"]).error) await install("openssl");
  makeCertificates(folder);
  const file = (name: string) => join(folder, name);
  const program = await serverProgram();
  const { server, port } = await onFreePort(async (port) => {
    const tls = [
      "--tls-port",
      String(port),
      "--tls-auth-clients",
      "no",
      "--tls-ca-cert-file",
      file("ca.crt"),
    ];
    const own = ["--tls-cert-file", file("server.crt"), "--tls-key-file", file("server.key")];
    return { server: await startProcess(program, [...tls, ...own]), port };
  });
  return {
    plainUrl: server.url,
    tlsUrl: `rediss://127.0.0.1:${port}`,
    ca: readFileSync(file("ca.crt"), "utf8"),
    stop: async () => {
      await server.stop();
      forget();
      clean();
    },
  };
}

/** An authority, and a certificate of this machine's that it has signed. */
function makeCertificates(folder: string): void {
  const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
  const newKey = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
  openssl("req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=Tests' authority");
  openssl(
    ...["req", "-x509", ...newKey, "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=127.0.0.1"],
    ...["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"],
  );
}
