import { randomBytes } from "node:crypto";
import {
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  type OnApplicationShutdown,
} from "@nestjs/common";
import { ClusteredRedisStore } from "clustered-redis-store";
import session, { type CookieOptions } from "express-session";
import { createClient } from "redis";

const secret = process.env.SESSION_SECRET || randomSecret(); // the same in all processes
// "lax": the browser sends no cookie with a POST from another site. A page of a sibling subdomain is the same site: if you do
// not trust those, or accept forms, check the Origin header or a CSRF token as well.
// "auto": Secure over HTTPS. Behind a proxy that ends TLS, Express must trust it: see main.ts.
const cookie: CookieOptions = { sameSite: "lax", secure: "auto", maxAge: 3_600_000 };

async function connect() {
  const client = createClient({ url: process.env.REDIS_URL ?? "redis://localhost:6379" });
  client.on("error", (error: NodeJS.ErrnoException) => console.error("redis:", error.message || error.code));
  await client.connect();
  return { client, store: new ClusteredRedisStore({ client }) };
}

/** Sessions for all routes; the store is closed after the last request, and then the client. */
@Module({ providers: [{ provide: "SESSIONS", useFactory: connect }] })
export class SessionsModule implements NestModule, OnApplicationShutdown {
  constructor(@Inject("SESSIONS") private readonly sessions: Awaited<ReturnType<typeof connect>>) {}

  configure(consumer: MiddlewareConsumer) {
    const { store } = this.sessions;
    const sessions = session({ store, secret, cookie, resave: false, saveUninitialized: false });
    consumer.apply(sessions).forRoutes("{*all}");
  }

  async onApplicationShutdown() {
    await this.sessions.store.close();
    this.sessions.client.destroy();
    console.log("stopped");
  }
}

/** For development only: each process has a different one, and cookies do not survive a restart. */
function randomSecret(): string {
  if (process.env.NODE_ENV === "production") throw new Error("SESSION_SECRET is not set");
  console.warn("SESSION_SECRET is not set: using a random secret, for this process only");
  return randomBytes(32).toString("hex");
}
