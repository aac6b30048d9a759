import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { RedisStore as ConnectRedis } from "connect-redis";
import express from "express";
import session, { type Store } from "express-session";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { ClusteredRedisStore } from "../../lib/index.ts";
import { eventually } from "../support/eventually.ts";
import { type Client, directClient, newSpace, whenLive } from "../support/node.ts";

/** More of them than CI has time for: `DIFFERENTIAL_RUNS=1000 npx vitest run test/contract/differential.test.ts`. */
const RUNS = Number(process.env["DIFFERENTIAL_RUNS"] ?? 60);

/**
 * What a request does to its session, one after the other. A reload is awaited: whether one that is not comes before the end of
 * the request is a matter of speed.
 */
type Step =
  | { readonly do: "put"; readonly key: string; readonly value: number }
  | { readonly do: "drop"; readonly key: string }
  | { readonly do: "maxAge"; readonly ms: number }
  | { readonly do: "save" | "touch" | "reload" | "regenerate" | "destroy"; readonly isAwaited: boolean };

interface Side {
  readonly url: string;
  readonly prefix: string;
  cookie: string | undefined;
}

const keys = fc.constantFrom("a", "b", "c");
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("put" as const), key: keys, value: fc.nat(9) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("drop" as const), key: keys }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("maxAge" as const), ms: fc.constantFrom(600_000, 3_600_000) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom("save" as const, "touch" as const), isAwaited: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reload" as const), isAwaited: fc.constant(true) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constantFrom("regenerate" as const, "destroy" as const),
      isAwaited: fc.constant(true),
    }),
  },
);
const flow = fc.array(fc.array(step, { maxLength: 6 }), { minLength: 1, maxLength: 6 });

/** An application that does to its session what the body of a request says, and answers with what the session holds then. */
async function startApp(prefix: string, store: Store): Promise<Side> {
  const app = express();
  app.use(express.json());
  app.use(
    session({
      store,
      secret: "differential",
      resave: false,
      saveUninitialized: false,
      rolling: true,
      cookie: { maxAge: 1_200_000 },
    }),
  );
  app.post("/", async (req, res) => {
    for (const each of req.body as Step[]) {
      // After destroy there is no session in this request any more.
      if (req.session === undefined) break;
      const current = req.session as unknown as Record<string, unknown> & session.Session;
      if (each.do === "put") current[each.key] = each.value;
      else if (each.do === "drop") delete current[each.key];
      else if (each.do === "maxAge") current.cookie.maxAge = each.ms;
      else if (each.do === "touch") current.touch();
      else {
        const done = new Promise<string>((resolve) => {
          current[each.do as "save"]((error: unknown) => resolve(error ? "failed" : "done"));
        });
        if (each.isAwaited && (await done) === "failed") break;
      }
    }
    const { cookie: _, ...values } = (req.session ?? {}) as Record<string, unknown>;
    res.json(values);
  });
  const server = await new Promise<Server>((resolve) => {
    const listening = app.listen(0, "127.0.0.1", () => resolve(listening));
  });
  onTestFinished(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, prefix, cookie: undefined };
}

async function visit(side: Side, steps: readonly Step[]): Promise<unknown> {
  const headers = { "content-type": "application/json", ...(side.cookie && { cookie: side.cookie }) };
  const response = await fetch(side.url, { method: "POST", headers, body: JSON.stringify(steps) });
  const [cookie] = (response.headers.get("set-cookie") ?? "").split(";");
  if (cookie) side.cookie = cookie;
  return { status: response.status, hasCookie: Boolean(cookie), body: await response.json() };
}

/** What Redis holds for a side: values and lives, without ids and to the second, since the two are never visited at once. */
async function stateOf(redis: Client, side: Side): Promise<unknown[]> {
  const found = await redis.keys(`${side.prefix}*`);
  const states = await Promise.all(
    found.map(async (key) => {
      const { cookie, ...values } = JSON.parse((await redis.get(key)) ?? "{}");
      const { expires: _, originalMaxAge, ...rest } = cookie;
      const life = Math.round((await redis.pTTL(key)) / 10_000);
      return JSON.stringify({ values, rest, age: Math.round(originalMaxAge / 10_000), life });
    }),
  );
  return states.sort();
}

test("whatever one browser's requests do, one after the other, ends as with connect-redis", async () => {
  const redis = await directClient();
  const [ours, theirs] = [newSpace(), newSpace()];
  const store = new ClusteredRedisStore({
    client: redis,
    prefix: ours.prefix,
    touchAfterMs: 0,
    cluster: { channel: ours.channel },
  });
  onTestFinished(() => store.close());
  await whenLive(store);
  const sides = [
    await startApp(ours.prefix, store),
    await startApp(theirs.prefix, new ConnectRedis({ client: redis, prefix: theirs.prefix })),
  ] as const;
  await fc.assert(
    fc.asyncProperty(flow, async (requests) => {
      for (const side of sides) {
        side.cookie = undefined;
        const found = await redis.keys(`${side.prefix}*`);
        if (found.length > 0) await redis.del(found);
      }
      await store.clear();
      for (const steps of requests) {
        const [a, b] = [await visit(sides[0], steps), await visit(sides[1], steps)];
        expect(a).toEqual(b);
        // What was not awaited may still be on its way.
        await eventually(async () => {
          const [mine, other] = [await stateOf(redis, sides[0]), await stateOf(redis, sides[1])];
          expect(mine).toEqual(other);
          return true;
        });
      }
    }),
    { numRuns: RUNS },
  );
});
