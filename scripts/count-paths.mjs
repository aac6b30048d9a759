// Counts how far an operation travels through lib/:
//
//   npm run count:paths [-- --lib DIR] [--lines] [--steps]
//
// A function is entered each time its body starts to run: functions, methods, constructors, accessors and arrow functions,
// whoever calls them. The sequence of entries gives two figures:
//
//   files visited   distinct files among the entries
//   file changes    consecutive entries that are in different files
//
// Returning to a caller, or going on after an `await`, is no entry. An operation lasts from the call of a store's method until
// nothing runs any more, so its callback and the echo of its own message count. The store has default options, but no heartbeat
// falls into a measurement. The script repeats each operation and prints the most frequent result, because the order in
// which a reply and an echo arrive varies, and a timer may run in between.
//
// --lib DIR  the sources to measure, for example those of another commit; lib/ by default
// --lines    prints the lines of each folder, too
// --steps    prints the files in the order of their visit, too
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { createClient } from "redis";
import ts from "typescript";
import { startRedis } from "../test/support/redis-server.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const REPEATS = 9;
const QUIET_MS = 20;
const DAY_MS = 86_400_000;

const { values: flags } = parseArgs({
  options: {
    lib: { type: "string", default: join(ROOT, "lib") },
    lines: { type: "boolean", default: false },
    steps: { type: "boolean", default: false },
  },
});
const lib = resolve(flags.lib);
const files = readdirSync(lib, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => name.replaceAll("\\", "/"))
  .sort();
const read = (file) => readFileSync(join(lib, file), "utf8");

/** The file of each function that has been entered, in order. */
let entered = [];
globalThis.enterFunction = (file) => {
  entered.push(file);
};

/** The same source, which reports each function that it enters. */
function instrument(file) {
  const text = read(file);
  const entry = `enterFunction(${JSON.stringify(file)})`;
  const insertions = [];
  const visit = (node) => {
    if (ts.isFunctionLike(node) && node.body !== undefined) {
      const { body } = node;
      if (ts.isBlock(body)) insertions.push([body.getStart() + 1, `${entry};`]);
      else insertions.push([body.getStart(), `(${entry}, `], [body.getEnd(), ")"]);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  insertions.sort(([a], [b]) => a - b);
  let copied = 0;
  const parts = insertions.flatMap(([position, inserted]) => {
    const part = text.slice(copied, position);
    copied = position;
    return [part, inserted];
  });
  return [...parts, text.slice(copied)].join("");
}

/** Copies lib/ to where its imports still find their packages; `counted/` is instrumented, `plain/` is not. */
function copyLib() {
  const folder = mkdtempSync(join(tmpdir(), "count-paths-"));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"), "junction");
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  for (const name of ["counted", "plain"]) cpSync(lib, join(folder, name), { recursive: true });
  for (const file of files) writeFileSync(join(folder, "counted", file), instrument(file));
  return folder;
}

async function quiet() {
  for (let before = -1; before !== entered.length; ) {
    before = entered.length;
    await pause(QUIET_MS);
  }
}

/** The entries of `operation`, which gets a Node-style callback. */
async function entriesOf(operation) {
  await quiet();
  entered = [];
  await new Promise((done, fail) => operation((error) => (error ? fail(error) : done())));
  await quiet();
  return [...entered];
}

const filesVisited = (entries) => new Set(entries).size;
const visitsOf = (entries) => entries.filter((file, i) => file !== entries[i - 1]);
const fileChanges = (entries) => visitsOf(entries).length - 1;

/** The most frequent of several results. */
function mostFrequent(results) {
  const groups = new Map();
  for (const entries of results) {
    const figures = `${filesVisited(entries)}, ${fileChanges(entries)}`;
    groups.set(figures, [...(groups.get(figures) ?? []), entries]);
  }
  return [...groups.values()].sort((a, b) => b.length - a.length)[0][0];
}

/** Each operation gets a session in Redis and in the cache, brings about what it needs, and resolves with its entries. */
const OPERATIONS = {
  hit: ({ store, sid }) => entriesOf((done) => store.get(sid, done)),
  miss: ({ store, sid }) => {
    store.evictFromCache(sid);
    return entriesOf((done) => store.get(sid, done));
  },
  set: async ({ store, sid }) => {
    const session = await loadSession(store, sid);
    session.visits++;
    return entriesOf((done) => store.set(sid, session, done));
  },
  touch: async ({ store, sid }) => {
    const session = await loadSession(store, sid);
    session.cookie.maxAge = 2 * DAY_MS;
    return entriesOf((done) => store.touch(sid, session, done));
  },
  destroy: ({ store, sid }) => entriesOf((done) => store.destroy(sid, done)),
  // Another process writes the session. Its store runs here, but is not instrumented.
  invalidation: ({ store, other, sid }) =>
    entriesOf((done) => {
      store.once("invalidate", () => done());
      other.set(sid, newSession(), (error) => error && done(error));
    }),
};

function newSession() {
  const expires = new Date(Date.now() + DAY_MS).toISOString();
  return { cookie: { originalMaxAge: DAY_MS, expires, httpOnly: true, path: "/" }, user: "ada", visits: 0 };
}

/** As express-session does it for a request. */
async function loadSession(store, sid) {
  return store.createSession({}, await store.get(sid));
}

async function measure(folder, url) {
  const client = createClient({ url });
  await client.connect();
  const id = randomUUID();
  const options = {
    client,
    prefix: `${id}:`,
    cluster: { channel: id, heartbeatMs: 60_000, leaseMs: 600_000 },
  };
  const openStore = async (copy) => {
    const { ClusteredRedisStore } = await import(pathToFileURL(join(folder, copy, "index.ts")).href);
    const store = new ClusteredRedisStore(options);
    await store.ready();
    return store;
  };
  const store = await openStore("counted");
  const other = await openStore("plain");
  const suspected = once(store, "suspect").then(([reason]) => {
    throw new Error(`The cache was not in use throughout: ${reason}`);
  });
  const measured = async () => {
    const results = {};
    for (const [name, operation] of Object.entries(OPERATIONS)) {
      const repeats = [];
      // The first repeat does what happens once for each connection, such as loading a script.
      for (let i = 0; i <= REPEATS; i++) {
        const sid = randomUUID();
        await store.set(sid, newSession());
        repeats.push(await operation({ store, other, sid }));
        await store.destroy(sid);
      }
      results[name] = mostFrequent(repeats.slice(1));
    }
    return results;
  };
  try {
    return await Promise.race([measured(), suspected]);
  } finally {
    await store.close();
    await other.close();
    client.destroy();
  }
}

/** Lines by folder, those of lib/ itself first. */
function linesByFolder() {
  const rows = {};
  for (const file of files) {
    const folder = dirname(file) === "." ? "lib/" : `lib/${dirname(file)}/`;
    rows[folder] ??= { files: 0, lines: 0 };
    rows[folder].files++;
    rows[folder].lines += read(file).split("\n").length - 1;
  }
  const sum = (column) => Object.values(rows).reduce((total, row) => total + row[column], 0);
  const sorted = Object.fromEntries(Object.entries(rows).sort(([a], [b]) => (a < b ? -1 : 1)));
  return { ...sorted, total: { files: sum("files"), lines: sum("lines") } };
}

const folder = copyLib();
const server = await startRedis();
try {
  const results = await measure(folder, server.url);
  if (flags.steps) {
    for (const [name, entries] of Object.entries(results))
      console.log(`${name}: ${visitsOf(entries).join(" → ")}\n`);
  }
  const rows = Object.entries(results).map(([name, entries]) => {
    return [name, { "files visited": filesVisited(entries), "file changes": fileChanges(entries) }];
  });
  console.table(Object.fromEntries(rows));
  if (flags.lines) console.table(linesByFolder());
} finally {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
}
