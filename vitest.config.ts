import { readdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** test/ has a folder of unit tests for each folder of lib/; what stands in test/ itself is about lib/ as a whole. */
const folders = readdirSync("lib", { withFileTypes: true }).filter((entry) => entry.isDirectory());
const UNIT = ["test/*.test.ts", ...folders.map(({ name }) => `test/${name}/**/*.test.ts`)];

/** What takes longest starts first: started last, one file would keep a single worker busy at the end. */
const FIRST = ["consistency", "demo", "topologies", "docs", "package", "contract"];

// Faults are real (paused servers, cut connections): a test waits for the event, not for a clock.
const PATIENT = { testTimeout: 240_000, hookTimeout: 240_000 };

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = FIRST.findIndex((folder) => moduleId.includes(`/test/${folder}/`));
      return index === -1 ? FIRST.length : index;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}

export default defineConfig({
  test: {
    // Most files wait for servers and child processes most of the time, so there are more workers than cores.
    maxWorkers: Math.min(8, 3 * availableParallelism()),
    sequence: { sequencer: LongestFirst },
    coverage: { include: ["lib/**"], provider: "v8" },
    projects: [
      // Unit tests share nothing but modules without state, and loading those takes longer than most tests.
      { test: { ...PATIENT, name: "unit", include: UNIT, isolate: false } },
      {
        test: {
          ...PATIENT,
          name: "integration",
          include: ["test/**/*.test.ts"],
          exclude: UNIT,
          globalSetup: ["test/support/global-setup.ts"],
        },
      },
    ],
  },
});
