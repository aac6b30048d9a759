import {
  Inject,
  type MiddlewareConsumer,
  Module,
  type NestModule,
  type OnApplicationShutdown,
} from "@nestjs/common";
import { ClusteredRedisStore } from "clustered-redis-store";
import session from "express-session";
import { createClient } from "redis";

const secret = process.env.SESSION_SECRET ?? "change me";

async function connect() {
  const client = createClient({ url: process.env.REDIS_URL ?? "redis://localhost:6379" });
  client.on("error", (error: Error) => console.error("redis:", error.message));
  await client.connect();
  return { client, store: new ClusteredRedisStore({ client }) };
}

/** Sessions for all routes; the store is closed after the last request, and then the client. */
@Module({ providers: [{ provide: "SESSIONS", useFactory: connect }] })
export class SessionsModule implements NestModule, OnApplicationShutdown {
  constructor(@Inject("SESSIONS") private readonly sessions: Awaited<ReturnType<typeof connect>>) {}

  configure(consumer: MiddlewareConsumer) {
    const { store } = this.sessions;
    consumer.apply(session({ store, secret, resave: false, saveUninitialized: false })).forRoutes("{*all}");
  }

  async onApplicationShutdown() {
    await this.sessions.store.close();
    this.sessions.client.destroy();
    console.log("stopped");
  }
}
