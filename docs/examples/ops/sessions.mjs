// Lists, counts, shows and ends sessions, through the store: what is ended here is ended in all processes. No id is printed.
// npm install clustered-redis-store express-session redis
import { parseArgs } from "node:util";
import { trackProgress } from "./progress.mjs";
import { openStore } from "./store.mjs";

const USAGE = `node sessions.mjs <command> [filters] [--json] [--progress]

commands
  list     the sessions, with their public ids and times
  count    how many there are
  show     a session, with its contents (--public-id)
  end      ends the sessions that match; at least one filter, or --all

filters
  --user <value>        the sessions of a user: fast, by the index
  --public-id <id>      one session; with --user fast
  --idle <duration>     not used for at least this long: 90s, 15m, 12h, 30d

--json prints one JSON object in each line. A search without --user reads all sessions. It shows its progress
on a terminal, or with --progress.`;

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function parse(args) {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      user: { type: "string" },
      "public-id": { type: "string" },
      idle: { type: "string" },
      all: { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      progress: { type: "boolean", default: process.stderr.isTTY ?? false },
    },
  });
  const [command, ...others] = positionals;
  const { user, "public-id": publicId, all, json, progress } = values;
  const [, amount, unit] = /^(\d+)([smhd])$/.exec(values.idle ?? "0s") ?? [];
  if (others.length > 0 || unit === undefined) throw new Error(USAGE);
  if (command === "show" && publicId === undefined) throw new Error("show needs --public-id");
  const idleMs = Number(amount) * UNITS[unit];
  const isFiltered = user !== undefined || publicId !== undefined || idleMs > 0;
  if (command === "end" && isFiltered === all) throw new Error("end needs a filter, or --all");
  return { command, user, publicId, idleMs, json, progress, isFiltered };
}

/** The sessions that match, each once. A session whose last use is not known is never idle. */
async function* find(store, { user, publicId, idleMs, progress }) {
  const seen = new Set();
  const scan = async () =>
    progress ? trackProgress(store.sessions(), await store.length()) : store.sessions();
  for await (const session of user === undefined ? await scan() : store.eachSessionOf(user)) {
    if (publicId !== undefined && session.publicId !== publicId) continue;
    if (idleMs > 0 && !(Date.now() - session.lastActiveAt > idleMs)) continue;
    if (seen.has(session.publicId)) continue;
    seen.add(session.publicId);
    yield session;
    if (publicId !== undefined) return;
  }
}

const COMMANDS = {
  async list(store, options, print) {
    for await (const { publicId, since, lastActiveAt, expiresAt } of find(store, options)) {
      print({ publicId, since: since ?? null, lastActiveAt, expiresAt });
    }
  },

  async count(store, options, print) {
    const { user, publicId, idleMs, isFiltered } = options;
    if (!isFiltered) return print({ count: await store.length() });
    if (user !== undefined && publicId === undefined && idleMs === 0) {
      return print({ count: await store.countOf(user) });
    }
    let count = 0;
    for await (const _ of find(store, options)) count++;
    print({ count });
  },

  async show(store, options, print) {
    for await (const { sid: _, ...session } of find(store, options)) return print(session);
    throw new Error("there is no such session");
  },

  async end(store, options, print) {
    const { user, publicId, idleMs, isFiltered } = options;
    if (!isFiltered) {
      // Also those that cannot be read.
      const ended = await store.length();
      await store.clear();
      return print({ ended });
    }
    if (user !== undefined && idleMs === 0) {
      if (publicId === undefined) return print({ ended: await store.destroyAllOf(user) });
      return print({ ended: (await store.destroyOf(user, publicId)) ? 1 : 0 });
    }
    let ended = 0;
    for await (const { sid } of find(store, options)) {
      await store.destroy(sid);
      ended++;
    }
    print({ ended });
  },
};

/** A line of text: times to the second, and contents as JSON. */
function lineOf(row) {
  const cells = Object.entries(row).map(([name, value]) => {
    if (value instanceof Date) return `${name} ${value.toISOString().slice(0, 19)}Z`;
    return `${name} ${value !== null && typeof value === "object" ? JSON.stringify(value) : (value ?? "unknown")}`;
  });
  return cells.join("  ");
}

let opened;
try {
  const options = parse(process.argv.slice(2));
  const run = Object.hasOwn(COMMANDS, options.command ?? "") ? COMMANDS[options.command] : undefined;
  if (run === undefined) throw new Error(USAGE);
  opened = await openStore();
  await run(opened.store, options, (row) => console.log(options.json ? JSON.stringify(row) : lineOf(row)));
} catch (error) {
  console.error(error.message || error.code); // of several addresses that refuse, Node says only the code
  process.exitCode = 1;
} finally {
  await opened?.close();
}
