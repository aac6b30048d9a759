import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import ts from "typescript";
import { type Block, ROOT } from "./markdown.ts";

const EXAMPLES = join(ROOT, "docs/examples");
/** Blocks stand here for the compiler, and nowhere on disk. */
const FOLDER = join(ROOT, "docs/blocks");

const SURROUNDINGS_FILE = join(FOLDER, "surroundings.d.ts");

/** The rest of the program that a block is a part of, and what its sessions contain: exact types, as a program has them. */
const SURROUNDINGS = `
import type { Express, Request, Response } from "express";
import type { RedisClientType } from "redis";
declare global {
  const app: Express;
  const server: import("node:http").Server;
  const client: RedisClientType;
  const store: import("clustered-redis-store").ClusteredRedisStore;
  const userStore: typeof store;
  const adminStore: typeof store;
  const session: typeof import("express-session");
  const createClient: typeof import("redis").createClient;
  const createClientPool: typeof import("redis").createClientPool;
  const collectStoreMetrics: typeof import("clustered-redis-store/prometheus").collectStoreMetrics;
  const encrypted: typeof import("clustered-redis-store/codecs").encrypted;
  const compressed: typeof import("clustered-redis-store/codecs").compressed;
  const composed: typeof import("clustered-redis-store/codecs").composed;
  const createHmac: typeof import("node:crypto").createHmac;
  const key: Buffer;
  const ClusteredRedisStore: typeof import("clustered-redis-store").ClusteredRedisStore;
  const req: Request;
  const rootNodes: { url: string }[];
  const sentinelRootNodes: { host: string; port: number }[];
  const url: string;
  const sid: string;
  const secret: string;
  function stop(): Promise<void>;
}
declare module "express-session" {
  interface SessionData {
    user?: string;
    userId?: string;
    views?: number;
    email?: string;
    /** In milliseconds since 1970. */
    loggedInAt?: number;
  }
}
`;

const COMMON: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.NodeNext,
  types: ["node"],
  paths: {
    "clustered-redis-store": [join(ROOT, "lib/index.ts")],
    "clustered-redis-store/prometheus": [join(ROOT, "lib/prometheus.ts")],
    "clustered-redis-store/codecs": [join(ROOT, "lib/codecs.ts")],
  },
  allowImportingTsExtensions: true,
  moduleDetection: ts.ModuleDetectionKind.Force,
  // A block must also compile in the program that a reader copies it into.
  strict: true,
  skipLibCheck: true,
  noEmit: true,
};

const SCRIPT: ts.CompilerOptions = { ...COMMON, allowJs: true, checkJs: true };

/**
 * What the compiler has to say of each block, by its place. JavaScript is compiled with the rest of its program around it;
 * with the flag `untyped` only its syntax counts, because somebody else's types are narrower than what they describe.
 */
export function complaintsAbout(blocks: readonly Block[]): string[] {
  const isTyped = ({ language }: Block) => language === "ts";
  const scripts = compile(
    blocks.filter((block) => !isTyped(block)),
    SCRIPT,
  );
  return [...scripts, ...blocks.filter(isTyped).flatMap((block) => compile([block], COMMON))];
}

/** Files on disk, parsed once for each set of options: the types of Node and Express take seconds. */
const parsedFiles = new Map<ts.CompilerOptions, Map<string, ts.SourceFile | undefined>>();

function parsedFor(options: ts.CompilerOptions): Map<string, ts.SourceFile | undefined> {
  const parsed = parsedFiles.get(options) ?? new Map();
  parsedFiles.set(options, parsed);
  return parsed;
}

function compile(blocks: readonly Block[], options: ts.CompilerOptions): string[] {
  const files = new Map(blocks.map((block, i) => [join(FOLDER, `${i}${extensionOf(block)}`), block]));
  const texts = new Map([...files].map(([name, { code }]) => [name, code]));
  for (const { flags } of blocks) {
    const file = flags.get("with");
    if (file !== undefined)
      texts.set(join(FOLDER, basename(file)), readFileSync(join(EXAMPLES, file), "utf8"));
  }
  if (options.checkJs) texts.set(SURROUNDINGS_FILE, SURROUNDINGS);
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, directoryExists, getSourceFile } = host;
  host.readFile = (name) => texts.get(name) ?? readFile.call(host, name);
  host.fileExists = (name) => texts.has(name) || fileExists.call(host, name);
  host.directoryExists = (name) => name === FOLDER || directoryExists?.call(host, name) !== false;
  const parsed = parsedFor(options);
  host.getSourceFile = (name, ...rest) => {
    const text = texts.get(name);
    if (text !== undefined) return ts.createSourceFile(name, text, rest[0], true);
    if (!parsed.has(name)) parsed.set(name, getSourceFile.call(host, name, ...rest));
    return parsed.get(name);
  };
  const program = ts.createProgram([...texts.keys()], options, host);
  return [...files, [SURROUNDINGS_FILE, undefined] as const].flatMap(([name, block]) => {
    const source = program.getSourceFile(name);
    if (source === undefined) return [];
    const isUntyped = block?.flags.has("untyped") ?? false;
    const found = [
      ...program.getSyntacticDiagnostics(source),
      ...(isUntyped ? [] : program.getSemanticDiagnostics(source)),
    ];
    const place = block?.place ?? name;
    return found.map(({ messageText }) => `${place}: ${ts.flattenDiagnosticMessageText(messageText, "\n")}`);
  });
}

function extensionOf({ language, flags, code }: Block): string {
  if (language === "ts") return ".mts";
  const isCommon = flags.get("file")?.endsWith(".cjs") || /\brequire\(|\bmodule\.exports\b/.test(code);
  return isCommon ? ".cjs" : ".mjs";
}
