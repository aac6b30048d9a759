import { expect, test } from "vitest";
import { Lease } from "../../lib/invalidation/lease.ts";

const LEASE_MS = 300;

/** A lease whose heartbeat, sent at `sentAt`, has returned. */
function heldSince(sentAt: number): Lease {
  const lease = new Lease(LEASE_MS);
  lease.prove(lease.send(sentAt));
  return lease;
}

test("nothing is proven before a heartbeat has returned", () => {
  const lease = new Lease(LEASE_MS);
  const number = lease.send(1_000);
  lease.acknowledge(number, 1_001);
  expect(lease.provenAt).toBeUndefined();
});

test("it is proven from when the heartbeat was sent, not from when it returned", () => {
  expect(heldSince(1_000).provenAt).toBe(1_000);
});

test("a newer heartbeat renews the lease", () => {
  const lease = heldSince(1_000);
  lease.prove(lease.send(1_200));
  expect(lease.provenAt).toBe(1_200);
});

test("heartbeats may return long after the next ones were sent", () => {
  const lease = new Lease(LEASE_MS);
  const [first, second] = [lease.send(1_000), lease.send(1_100)];
  lease.prove(first);
  expect(lease.provenAt).toBe(1_000);
  lease.prove(second);
  expect(lease.provenAt).toBe(1_100);
});

test("an older heartbeat that returns after a newer one does not shorten the lease", () => {
  const lease = new Lease(LEASE_MS);
  const [first, second] = [lease.send(1_000), lease.send(1_100)];
  lease.prove(second);
  lease.prove(first);
  expect(lease.provenAt).toBe(1_100);
});

test.each([0, -1, 2, 1e9, Number.NaN])("number %d, which was never sent, proves nothing", (number) => {
  const lease = new Lease(LEASE_MS);
  lease.send(1_000);
  lease.prove(number);
  lease.acknowledge(number, 1_000);
  lease.drop(number);
  expect(lease.provenAt).toBeUndefined();
});

test("a heartbeat counts once", () => {
  const lease = new Lease(LEASE_MS);
  const number = lease.send(1_000);
  lease.prove(number);
  lease.reset();
  lease.prove(number);
  expect(lease.provenAt).toBeUndefined();
});

test("a revoked lease proves nothing", () => {
  const lease = heldSince(1_000);
  lease.reset();
  expect(lease.provenAt).toBeUndefined();
});

test("a heartbeat from before the lease was revoked proves nothing any more", () => {
  const lease = new Lease(LEASE_MS);
  const before = lease.send(1_000);
  lease.reset();
  lease.prove(before);
  expect(lease.provenAt).toBeUndefined();
});

test("a heartbeat from after the lease was revoked renews it", () => {
  const lease = heldSince(1_000);
  lease.reset();
  lease.prove(lease.send(1_050));
  expect(lease.provenAt).toBe(1_050);
});

test("a restart revokes the lease, and heartbeats from before it prove nothing", () => {
  const lease = heldSince(1_000);
  const before = lease.send(1_010);
  lease.restart();
  lease.prove(before);
  expect(lease.provenAt).toBeUndefined();
});

test("numbers are not used again after a restart", () => {
  const lease = new Lease(LEASE_MS);
  const before = lease.send(1_000);
  lease.restart();
  expect(lease.send(1_010)).toBeGreaterThan(before);
});

test("it is silent when an acknowledged heartbeat has not returned for a lease", () => {
  const lease = new Lease(LEASE_MS);
  lease.acknowledge(lease.send(1_000), 1_100);
  expect(lease.isSilent(1_399)).toBe(false);
  expect(lease.isSilent(1_400)).toBe(true);
});

test("it is not silent while Redis has not acknowledged anything: then it is Redis that does not answer", () => {
  const lease = new Lease(LEASE_MS);
  lease.send(1_000);
  expect(lease.isSilent(99_000)).toBe(false);
});

test("it is not silent when the heartbeat returned, or failed, or a later one returned", () => {
  const lease = new Lease(LEASE_MS);
  const numbers = [1_000, 1_001, 1_002].map((now) => lease.send(now)) as [number, number, number];
  for (const number of numbers) lease.acknowledge(number, 1_003);
  lease.prove(numbers[1]);
  lease.drop(numbers[2]);
  expect(lease.isSilent(99_000)).toBe(false);
});

test("a revoked lease may still be silent, a restarted one is not", () => {
  const lease = new Lease(LEASE_MS);
  lease.acknowledge(lease.send(1_000), 1_000);
  lease.reset();
  expect(lease.isSilent(2_000)).toBe(true);
  lease.restart();
  expect(lease.isSilent(2_000)).toBe(false);
});

test.each([
  ["acknowledged", (lease: Lease, number: number) => lease.acknowledge(number, 1_001)],
  ["failed", (lease: Lease, number: number) => lease.drop(number)],
  ["back", (lease: Lease, number: number) => lease.prove(number)],
  ["of an earlier subscription", (lease: Lease) => lease.restart()],
])("a heartbeat is on its way until it is %s", (_, end) => {
  const lease = new Lease(LEASE_MS);
  expect(lease.isSending).toBe(false);
  const number = lease.send(1_000);
  expect(lease.isSending).toBe(true);
  end(lease, number);
  expect(lease.isSending).toBe(false);
});
