// Express with sessions, and a span for each request and each of its trips to Redis, printed as lines of JSON.
// npm install clustered-redis-store express express-session redis \
//   @opentelemetry/api @opentelemetry/sdk-trace-base @opentelemetry/context-async-hooks
import { randomBytes } from "node:crypto";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
import { ClusteredRedisStore } from "clustered-redis-store";
import express from "express";
import session from "express-session";
import { createClient } from "redis";
import { traceSessions } from "./session-spans.mjs";

// In place of this: an exporter to your collector, and a BatchSpanProcessor.
const exporter = {
  export(spans, done) {
    for (const { name, parentSpanContext: parent, attributes, status, events } of spans) {
      console.log(JSON.stringify({ name, parent: parent?.spanId, attributes, status, events }));
    }
    done({ code: 0 });
  },
  shutdown: async () => {},
};
context.setGlobalContextManager(new AsyncLocalStorageContextManager());
trace.setGlobalTracerProvider(
  new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
);
traceSessions();

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
const client = createClient({ url: process.env.REDIS_URL });
client.on("error", (error) => console.error("redis:", error.message || error.code));
await client.connect();
const store = new ClusteredRedisStore({ client });

const app = express();
// @opentelemetry/instrumentation-http makes such spans by itself.
app.use((req, res, next) => {
  trace.getTracer("http").startActiveSpan(`${req.method} ${req.path}`, (span) => {
    res.on("close", () => span.end());
    next();
  });
});
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: app.set("trust proxy", 1).
const cookie = { sameSite: "lax", secure: "auto" };
app.use(session({ store, secret, cookie, resave: false, saveUninitialized: false }));
app.get("/", (req, res) => {
  req.session.views = (req.session.views ?? 0) + 1;
  res.json({ views: req.session.views });
});
const server = app.listen(process.env.PORT ?? 3000, () => {
  console.log(`listening on http://localhost:${server.address().port}`);
});

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret() {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
