import { setTimeout as pause } from "node:timers/promises";
import { createClient, ErrorReply } from "redis";

const PATIENCE_MS = 120_000;

/** What a server says of itself. */
export interface Identity {
  /** Its kind and its number, such as "redis 7.0.15". */
  readonly version: string;
  readonly pid: number;
}

/** Waits until the server answers. `whyNot` ends the waiting early with its error. */
export async function whenAnswering(
  url: string,
  whyNot: () => Error | undefined = () => undefined,
): Promise<Identity> {
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask(url);
    } catch (error) {
      const reason = whyNot();
      if (reason !== undefined) throw reason;
      // It is there and means it (a password is missing, say), or it never comes.
      const isRefusal = error instanceof ErrorReply && !error.message.startsWith("LOADING");
      if (isRefusal || performance.now() > end) throw noAnswer(url, error);
      await pause(20);
    }
  }
}

async function ask(url: string): Promise<Identity> {
  const socket = { reconnectStrategy: false, connectTimeout: 2_000, socketTimeout: 2_000 } as const;
  const client = createClient({ url, RESP: 2, disableOfflineQueue: true, socket });
  // It comes out of connect(), too.
  client.on("error", () => {});
  try {
    await client.connect();
    await client.ping();
    return identityIn(await client.info("server"));
  } finally {
    client.destroy();
  }
}

function identityIn(info: string): Identity {
  const field = (name: string) => new RegExp(`^${name}:(.*?)\r?$`, "m").exec(info)?.[1];
  // Valkey gives both: the Redis that it is compatible with, and its own.
  const valkey = field("valkey_version");
  const version = valkey === undefined ? `redis ${field("redis_version")}` : `valkey ${valkey}`;
  return { version, pid: Number(field("process_id")) };
}

function noAnswer(url: string, cause: unknown): Error {
  // Not the whole URL, for it may have a password.
  const { host } = new URL(url);
  const message = cause instanceof Error ? cause.message || cause.name : String(cause);
  return new Error(`Redis at ${host} does not answer: ${message}`, { cause });
}
