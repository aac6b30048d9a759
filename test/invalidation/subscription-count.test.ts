import { expect, test, vi } from "vitest";
import { type KnownSubscriptions, SubscriptionCount } from "../../lib/invalidation/subscription-count.ts";

/** Subscriptions of which Redis counts as many as there are, less `missing`. */
function subscriptions() {
  const known: { -readonly [K in keyof KnownSubscriptions]: number } = { size: 3, disturbances: 0 };
  const redis = { missing: 0, onCount: () => {} };
  const count = vi.fn(async (): Promise<number | undefined> => {
    const counted = known.size - redis.missing;
    redis.onCount();
    return counted;
  });
  const counter = new SubscriptionCount(count, known);
  return { known, redis, count, isShort: () => counter.isShort() };
}

test("nothing is missing while Redis counts them all, however many there are", async () => {
  const { known, isShort } = subscriptions();
  for (const size of [3, 0, 5_000]) {
    known.size = size;
    expect(await isShort()).toBe(false);
  }
});

test("one is missing if two counts in a row show it", async () => {
  const { redis, isShort } = subscriptions();
  redis.missing = 1;
  expect(await isShort()).toBe(false);
  expect(await isShort()).toBe(true);
});

test("what has been explained by the next count is no loss: a slot that has moved, as a heartbeat shows then", async () => {
  const { known, redis, isShort } = subscriptions();
  redis.missing = 1;
  expect(await isShort()).toBe(false);
  known.size--;
  known.disturbances++;
  redis.missing = 0;
  expect(await isShort()).toBe(false);
  redis.missing = 1;
  expect(await isShort()).toBe(false);
});

test("a subscription that Redis ends or refuses while it counts shows nothing", async () => {
  const { known, redis, isShort } = subscriptions();
  redis.missing = 1;
  redis.onCount = () => known.disturbances++;
  for (let i = 0; i < 3; i++) expect(await isShort()).toBe(false);
});

test("a session that is subscribed while Redis counts does not matter", async () => {
  const { known, redis, isShort } = subscriptions();
  redis.onCount = () => known.size++;
  for (let i = 0; i < 3; i++) expect(await isShort()).toBe(false);
});

test("a Redis that does not count is asked once", async () => {
  const { count, isShort } = subscriptions();
  count.mockResolvedValue(undefined);
  for (let i = 0; i < 3; i++) expect(await isShort()).toBe(false);
  expect(count).toHaveBeenCalledTimes(1);
});
