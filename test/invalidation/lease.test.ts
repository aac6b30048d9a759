import { expect, test } from "vitest";
import { Lease } from "../../lib/invalidation/lease.ts";

const LEASE_MS = 300;

/** A heartbeat that is sent, acknowledged and returned. */
function prove(lease: Lease, payload: string, sentAt: number): void {
  lease.send(payload, sentAt);
  lease.acknowledge(payload, sentAt + 1);
  lease.onEcho(payload);
}

/** A lease whose heartbeat, sent at `sentAt`, has returned. */
function heldSince(sentAt: number): Lease {
  const lease = new Lease(LEASE_MS);
  prove(lease, "held", sentAt);
  return lease;
}

test("nothing is proven before a heartbeat has returned", () => {
  const lease = new Lease(LEASE_MS);
  lease.send("a", 1_000);
  expect(lease.acknowledge("a", 1_001)).toBe(false);
  expect(lease.provenAt).toBeUndefined();
  expect(lease.onEcho("a")).toBe(true);
  expect(lease.provenAt).toBe(1_000);
});

test("nothing is proven before Redis has acknowledged a heartbeat, which may have returned before that", () => {
  const lease = new Lease(LEASE_MS);
  lease.send("a", 1_000);
  expect(lease.onEcho("a")).toBe(false);
  expect(lease.provenAt).toBeUndefined();
  expect(lease.acknowledge("a", 1_001)).toBe(true);
  expect(lease.provenAt).toBe(1_000);
});

test("a heartbeat that has returned proves nothing if its reply shows that it does not", () => {
  const lease = new Lease(LEASE_MS);
  lease.send("a", 1_000);
  lease.onEcho("a");
  lease.drop("a");
  expect(lease.acknowledge("a", 1_001)).toBe(false);
  expect(lease.provenAt).toBeUndefined();
});

test("it is proven from when the heartbeat was sent, not from when it returned", () => {
  expect(heldSince(1_000).provenAt).toBe(1_000);
});

test("a newer heartbeat renews the lease", () => {
  const lease = heldSince(1_000);
  prove(lease, "newer", 1_200);
  expect(lease.provenAt).toBe(1_200);
});

/** A lease with two heartbeats that Redis has acknowledged. */
function withTwo(): Lease {
  const lease = new Lease(LEASE_MS);
  for (const [payload, sentAt] of [
    ["first", 1_000],
    ["second", 1_100],
  ] as const) {
    lease.send(payload, sentAt);
    lease.acknowledge(payload, sentAt + 1);
  }
  return lease;
}

test("heartbeats may return long after the next ones were sent", () => {
  const lease = withTwo();
  lease.onEcho("first");
  expect(lease.provenAt).toBe(1_000);
  lease.onEcho("second");
  expect(lease.provenAt).toBe(1_100);
});

test("an older heartbeat that returns after a newer one does not shorten the lease", () => {
  const lease = withTwo();
  lease.onEcho("second");
  lease.onEcho("first");
  expect(lease.provenAt).toBe(1_100);
});

test("a payload that was never sent proves nothing", () => {
  const lease = new Lease(LEASE_MS);
  lease.send("a", 1_000);
  expect([lease.acknowledge("forged", 1_000), lease.onEcho("forged")]).toEqual([false, false]);
  lease.drop("forged");
  expect(lease.provenAt).toBeUndefined();
});

test("a heartbeat counts once", () => {
  const lease = heldSince(1_000);
  lease.reset();
  expect([lease.acknowledge("held", 1_001), lease.onEcho("held")]).toEqual([false, false]);
  expect(lease.provenAt).toBeUndefined();
});

test("a revoked lease proves nothing", () => {
  const lease = heldSince(1_000);
  lease.reset();
  expect(lease.provenAt).toBeUndefined();
});

test("a heartbeat from before the lease was revoked proves nothing any more", () => {
  const lease = withTwo();
  lease.reset();
  expect(lease.onEcho("first")).toBe(false);
  expect(lease.provenAt).toBeUndefined();
});

test("a heartbeat from after the lease was revoked renews it", () => {
  const lease = heldSince(1_000);
  lease.reset();
  prove(lease, "after", 1_050);
  expect(lease.provenAt).toBe(1_050);
});

test("a restart revokes the lease, and heartbeats from before it prove nothing", () => {
  const lease = withTwo();
  lease.onEcho("first");
  lease.restart();
  lease.onEcho("second");
  expect(lease.provenAt).toBeUndefined();
});

test("it is silent when an acknowledged heartbeat has not returned for a lease", () => {
  const lease = new Lease(LEASE_MS);
  lease.send("a", 1_000);
  lease.acknowledge("a", 1_100);
  expect(lease.isSilent(1_399)).toBe(false);
  expect(lease.isSilent(1_400)).toBe(true);
});

test("it is not silent while Redis has not acknowledged anything: then it is Redis that does not answer", () => {
  const lease = new Lease(LEASE_MS);
  lease.send("a", 1_000);
  expect(lease.isSilent(99_000)).toBe(false);
});

test("it is not silent when the heartbeat returned, or failed, or a later one returned", () => {
  const lease = withTwo();
  lease.send("third", 1_200);
  lease.acknowledge("third", 1_201);
  lease.onEcho("second");
  lease.drop("third");
  expect(lease.isSilent(99_000)).toBe(false);
});

test("a revoked lease may still be silent, a restarted one is not", () => {
  const lease = withTwo();
  lease.reset();
  expect(lease.isSilent(2_000)).toBe(true);
  lease.restart();
  expect(lease.isSilent(2_000)).toBe(false);
});

test.each([
  ["acknowledged", (lease: Lease) => lease.acknowledge("a", 1_001)],
  ["failed", (lease: Lease) => lease.drop("a")],
  ["of an earlier subscription", (lease: Lease) => lease.restart()],
])("a heartbeat is on its way until it is %s", (_, end) => {
  const lease = new Lease(LEASE_MS);
  expect(lease.isSending).toBe(false);
  lease.send("a", 1_000);
  lease.onEcho("a");
  expect(lease.isSending).toBe(true);
  end(lease);
  expect(lease.isSending).toBe(false);
});
