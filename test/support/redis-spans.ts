// Prints what @opentelemetry/instrumentation-redis records of a store's commands: redis-spans.ts <url> <session id> <options>
import { createRequire } from "node:module";
import { RedisInstrumentation } from "@opentelemetry/instrumentation-redis";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import type { SessionData } from "express-session";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "./eventually.ts";

const [url = "", sid = "", options = "undefined"] = process.argv.slice(2);
const exporter = new InMemorySpanExporter();
const instrumentation = new RedisInstrumentation(new Function(`return ${options}`)());
instrumentation.setTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);
// It instruments what is required after it.
const { createClient } = createRequire(import.meta.url)("redis") as typeof import("redis");
const client = createClient({ url });
client.on("error", () => {});
await client.connect();
// Saves with an index are scripts, which get the whole session as an argument.
const indexBy = (session: SessionData) => session["user"] as string;
const store = new ClusteredRedisStore({ client, indexBy, localCache: false });
await eventually(() => store.clusterStats.state === "live");
const session = {
  cookie: { originalMaxAge: 60_000 },
  user: "ann",
  text: "the-content",
} as unknown as SessionData;
await store.set(sid, session);
await store.get(sid);
await store.touch(sid, { ...session, cookie: { originalMaxAge: 600_000 } } as SessionData);
await store.sessionsOf("ann");
await store.destroy(sid);
await store.close();
client.destroy();
console.log(
  JSON.stringify(exporter.getFinishedSpans().map(({ name, attributes }) => ({ name, attributes }))),
);
