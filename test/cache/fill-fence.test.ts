import fc from "fast-check";
import { expect, test } from "vitest";
import { FillFence } from "../../lib/cache/fill-fence.ts";

test("a token is valid while nothing is revoked", () => {
  const fence = new FillFence();
  const token = fence.take("a");
  expect(fence.isValid(token)).toBe(true);
});

test("a token is revoked with its session", () => {
  const fence = new FillFence();
  const token = fence.take("a");
  fence.revoke("a");
  expect(fence.isValid(token)).toBe(false);
});

test("a token is revoked with all sessions", () => {
  const fence = new FillFence();
  const token = fence.take("a");
  fence.revokeAll();
  expect(fence.isValid(token)).toBe(false);
});

test("a token taken after the revocation is valid", () => {
  const fence = new FillFence();
  fence.revoke("a");
  fence.revokeAll();
  expect(fence.isValid(fence.take("a"))).toBe(true);
});

test("checking a token does not use it up", () => {
  const fence = new FillFence();
  const token = fence.take("a");
  expect([fence.isValid(token), fence.isValid(token)]).toEqual([true, true]);
});

test.each([
  ["numbered", (i: number) => `session-${i}`],
  ["with a long common end", (i: number) => `${i}${"x".repeat(100)}`],
  ["in base 36", (i: number) => (i * 2_654_435_761).toString(36)],
  ["differing in their second half", (i: number) => `${"s".repeat(16)}${i.toString(2).padStart(16, "0")}`],
])("of 10,000 other sessions, %s, hardly any loses its token", (_, name) => {
  const fence = new FillFence();
  const others = Array.from({ length: 10_000 }, (_, i) => fence.take(name(i + 1)));
  fence.revoke(name(0));
  const voided = others.filter((token) => !fence.isValid(token)).length;
  expect(voided).toBeLessThan(20);
});

test("no token is ever valid after its own session was revoked, and none invalid with nothing revoked since", () => {
  const sid = fc.oneof(fc.constantFrom("a", "b", ""), fc.string(), fc.uuid());
  const command = fc.record({ do: fc.constantFrom("take", "take", "void", "voidAll"), sid });
  const holds = fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
    const fence = new FillFence();
    let taken: {
      token: ReturnType<FillFence["take"]>;
      sid: string;
      isVoid: boolean;
      isUntouched: boolean;
    }[] = [];
    for (const { do: what, sid } of commands) {
      if (what === "take") taken.push({ token: fence.take(sid), sid, isVoid: false, isUntouched: true });
      else if (what === "void") fence.revoke(sid);
      else fence.revokeAll();
      if (what !== "take") {
        taken = taken.map((each) => ({
          ...each,
          isVoid: each.isVoid || what === "voidAll" || each.sid === sid,
          isUntouched: false,
        }));
      }
      for (const { token, isVoid, isUntouched } of taken) {
        if (isVoid) expect(fence.isValid(token)).toBe(false);
        if (isUntouched) expect(fence.isValid(token)).toBe(true);
      }
    }
  });
  fc.assert(holds, { numRuns: 500 });
});
