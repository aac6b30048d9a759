import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Faults are real (paused servers, cut connections): a test waits for the event, not for a clock.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    globalSetup: ["test/support/global-setup.ts"],
    coverage: { include: ["lib/**"], provider: "v8" },
  },
});
