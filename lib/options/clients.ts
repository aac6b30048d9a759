import { runInBackground } from "../redis/background.ts";
import {
  kindOf,
  type RedisStoreClient,
  type RedisSubscriberClient,
  type RedisSubscriberSource,
} from "../redis/client.ts";
import { describeValue, optionError } from "../reporting/errors.ts";

/** @throws TypeError if `given` is not a client that the store works with */
export function requireClient(given: unknown, name: string): RedisStoreClient {
  const expected =
    'a client of the "redis" package (node-redis 5 or 6): createClient(), createClientPool(), …';
  if (kindOf(given) === undefined) {
    throw optionError(name, expected, given, mistakeIn(given));
  }
  const { _options } = given as { _options?: { defaults?: { commandsQueueMaxLength?: number } } };
  const maxLength = _options?.defaults?.commandsQueueMaxLength;
  if (maxLength !== undefined) {
    // It may queue MULTI and SET and refuse EXEC, or ASKING and refuse what follows: the next command takes its place.
    const reason = "when its queue is full, node-redis splits transactions";
    throw optionError(name, `a Cluster client without commandsQueueMaxLength (${reason})`, maxLength);
  }
  if (!("withTypeMapping" in (given as object)))
    throw optionError(name, expected, given, `node-redis 4 or older: ${UPGRADE}`);
  return given as RedisStoreClient;
}

const UPGRADE = "npm install redis@latest";

/** What was passed instead of a client, and what to do; undefined if it resembles nothing that is known. */
function mistakeIn(given: unknown): string | undefined {
  if (typeof given === "function") return "a function: call it, and pass the client that it returns";
  if (typeof given === "string")
    return `${describeValue(redactUrl(given))}: pass await createClient({ url }).connect()`;
  if (given === null || typeof given !== "object") return undefined;
  if ("then" in given) return `${describeValue(given)}: did you forget await?`;
  if ("status" in given && "multi" in given)
    return "an ioredis client: npm install redis, and pass await createClient({ url }).connect()";
  if ("send_command" in given || "internal_send_command" in given) return `node-redis 3 or older: ${UPGRADE}`;
  // Not by the name of its class, which bundlers change.
  if ("sendCommand" in given && "multi" in given) return "client.legacy(): pass the client itself";
  return undefined;
}

/** An address without user name and password, since errors are logged. */
function redactUrl(text: string): string {
  return text.replace(/\/\/.*@/, "//…@");
}

/**
 * The source of subscriber connections.
 * @param given the option `cluster.subscriber`
 * @throws TypeError if it does not go with `client`, or cannot be duplicated
 */
export function subscriberFor(
  client: RedisStoreClient,
  given: RedisStoreClient | (() => RedisStoreClient) | undefined,
): RedisSubscriberSource {
  const name = "cluster.subscriber";
  const clientKind = kindOf(client);
  if (clientKind === "cluster" && given !== undefined) {
    throw optionError(
      name,
      "no value with a Cluster client, because the clients of its nodes are duplicated",
      given,
    );
  }
  if (typeof given === "function") {
    const create = () => requireNewClient(given(), client, name);
    // Once now, so that a mistake shows here; the first subscription gets it.
    let first: RedisStoreClient | undefined = runInBackground(create);
    return () => {
      const created = first ?? create();
      first = undefined;
      return created;
    };
  }
  const source = given ?? client;
  const kind = kindOf(source);
  // After a failover, the subscription must be where the client writes.
  if (kind !== clientKind && kind !== "pool" && !(clientKind === "pool" && kind === "single")) {
    throw optionError(name, `a client of the same kind as client (${clientKind})`, given, `a ${kind} client`);
  }
  if ("duplicate" in source) return source as RedisSubscriberClient;
  const [what, instead] =
    kind === "pool"
      ? ["a pool", "pass a client from createClient() here"]
      : ["a Sentinel client of node-redis 5", "pass a function here that makes one, or use node-redis 6"];
  const where = given === undefined ? name : `${name} (given ${what})`;
  throw new TypeError(
    `${where}: ${what} cannot be duplicated for the subscription: ${instead}, or disable the cache as well as the messages (localCache: false, cluster: false)`,
  );
}

/**
 * What the function `cluster.subscriber` has returned. The store connects it, changes it and closes it.
 * @throws TypeError if the application uses it, or if it is not of the kind that subscribes beside `client`
 */
function requireNewClient(given: unknown, client: RedisStoreClient, name: string): RedisStoreClient {
  const kind = kindOf(client) === "sentinel" ? "sentinel" : "single";
  const actual = kindOf(given);
  const isRight = actual === kind && given !== client && !(given as RedisStoreClient).isOpen;
  if (isRight) return given as RedisStoreClient;
  const example = kind === "sentinel" ? "createSentinel(…)" : "createClient(…)";
  let got = actual === undefined ? describeValue(given) : `a ${actual} client`;
  if (given === client) got = "client itself";
  else if (actual === kind) got = "one that is open: the store connects it";
  else if (given instanceof Promise) got = "a Promise: return the client, and the store connects it";
  throw optionError(name, `a function that returns a new client on each call: () => ${example}`, given, got);
}
