import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { install } from "../apt.ts";
import { startRedis } from "../redis-server.ts";
import { onFreePort } from "./free-port.ts";

/** A Redis that speaks TLS, with a certificate that only its own authority vouches for. */
export interface TlsRedis {
  /** Without TLS, for the test itself. */
  readonly plainUrl: string;
  readonly tlsUrl: string;
  /** The authority's certificate, for clients that are to trust it. */
  readonly ca: string;
  stop(): Promise<void>;
}

export async function startTlsRedis(): Promise<TlsRedis> {
  if (spawnSync("openssl", ["version"]).error) await install("openssl");
  const files = makeCertificates();
  return onFreePort(async (port) => {
    const tls = ["--tls-port", String(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", "ca.crt"];
    const own = ["--tls-cert-file", "server.crt", "--tls-key-file", "server.key"];
    const server = await startRedis({ own: true, atLoopback: true, files, args: [...tls, ...own] });
    return {
      plainUrl: server.url,
      tlsUrl: `rediss://127.0.0.1:${port}`,
      ca: files["ca.crt"],
      stop: () => server.stop(),
    };
  });
}

/** An authority's certificate, and one of this machine's that it has signed, with its key. */
function makeCertificates(): Record<"ca.crt" | "server.crt" | "server.key", string> {
  const folder = mkdtempSync(join(tmpdir(), "certificates-for-tests-"));
  try {
    const openssl = (...args: string[]) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
    const newKey = ["-newkey", "rsa:2048", "-nodes", "-days", "2"];
    openssl(
      ...["req", "-x509", ...newKey, "-keyout", "ca.key", "-out", "ca.crt"],
      ...["-subj", "/CN=Tests' authority"],
    );
    openssl(
      ...["req", "-x509", ...newKey, "-keyout", "server.key", "-out", "server.crt", "-subj", "/CN=127.0.0.1"],
      ...["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"],
    );
    const text = (name: string) => readFileSync(join(folder, name), "utf8");
    return {
      "ca.crt": text("ca.crt"),
      "server.crt": text("server.crt"),
      "server.key": text("server.key"),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
