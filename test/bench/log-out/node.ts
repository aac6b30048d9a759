// A process of an application: node node.ts <Redis URL> <URL for the subscription> <channel>. It reads sessions as fast as it can.
import { setImmediate as otherWork } from "node:timers/promises";
import { ClusteredRedisStore, type ClusteredRedisStoreOptions } from "clustered-redis-store";
import type { SessionData } from "express-session";
import { createClient } from "redis";
import { serve } from "../support/rpc.ts";
import { sessionOf, sidOf } from "../support/sessions.ts";

/** What is seen of the end of all sessions; times of the machine's monotonic clock, in ns. */
export interface Ended {
  readonly calledAt: string;
  readonly acknowledgedAt: string;
  readonly deleted: number;
}

const USER = "ada";
const AT_A_STRETCH = 20;

const [url, busUrl, channel] = process.argv.slice(2) as [string, string, string];
const client = createClient({ url });
await client.connect();
const indexBy: ClusteredRedisStoreOptions["indexBy"] = (session) => (session as { owner?: string }).owner;
const store = new ClusteredRedisStore({
  client,
  prefix: `${channel}:`,
  indexBy,
  cluster: { channel, subscriber: createClient({ url: busUrl }) },
});
store.on("clusterError", () => {});
await store.ready();

let sids: string[] = [];
let isReading = false;
let reading: Promise<void> = Promise.resolve();
let answered = 0;
let lastAnswer = 0n;
let held: SessionData[] = [];

async function readOn(): Promise<void> {
  while (isReading) {
    for (let i = 0; i < AT_A_STRETCH; i++) {
      const sid = sids[Math.floor(Math.random() * sids.length)] as string;
      // A promise is for a read of Redis, that takes its time: others may begin meanwhile.
      store.get(sid, (error, session) => {
        if (error !== null || !session) return;
        answered++;
        lastAnswer = process.hrtime.bigint();
      });
    }
    await otherWork();
  }
}

export const handlers = {
  live: (): Promise<void> => store.ready(),

  logIn: async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      await store.set(sidOf(i), Object.assign(sessionOf(1000, 3_600_000), { owner: USER }));
    }
  },

  /** Reads each of the sessions once, keeps some in hand as requests do, and reads on until told to stop. */
  read: async ({ count, inHand }: { count: number; inHand: number }): Promise<void> => {
    sids = Array.from({ length: count }, (_, i) => sidOf(i));
    for (const sid of sids) await store.get(sid);
    held = [];
    for (const sid of sids.slice(0, inHand)) {
      const data = await store.get(sid);
      const request = { sessionID: sid } as Parameters<typeof store.createSession>[0];
      held.push(store.createSession(request, data as SessionData));
    }
    answered = 0;
    isReading = true;
    reading = readOn();
  },

  logOutEverywhere: async (): Promise<Ended> => {
    const calledAt = String(process.hrtime.bigint());
    const deleted = await store.destroyAllOf(USER);
    return { calledAt, acknowledgedAt: String(process.hrtime.bigint()), deleted };
  },

  /** The requests that had loaded a session end, and save it. */
  saveWhatIsInHand: async (): Promise<void> => {
    await Promise.all(
      held.map((session, i) => store.set(sidOf(i), Object.assign(session, { late: true }) as SessionData)),
    );
  },

  /** @returns when the last session was handed out, and how many there were */
  stop: async (): Promise<{ lastAnswer: string; answered: number }> => {
    isReading = false;
    await reading;
    return { lastAnswer: String(lastAnswer), answered };
  },

  survivors: async (): Promise<number> => {
    const found = await Promise.all(sids.map((sid) => store.get(sid)));
    return found.filter((session) => session !== null).length;
  },
};

serve(handlers);
