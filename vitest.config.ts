import { defineConfig } from "vitest/config";

// Groups by what they need. `qemu` and `guest` start real machines, so that their files run few at a time on two cores.
// Groups with bounds of their own must not run beside others: each has its place in the order.
const project = (groupOrder: number, name: string, extra: object = {}) => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: 20_000,
    hookTimeout: 30_000,
    sequence: { groupOrder },
    ...extra,
  },
});

export default defineConfig({
  test: {
    projects: [
      project(0, "unit"),
      project(1, "redis", { globalSetup: ["test/helpers/redis-global-setup.ts"] }),
      project(2, "qemu", { testTimeout: 60_000, maxWorkers: 2 }),
      project(3, "guest", { testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false }),
      project(4, "cli", { testTimeout: 60_000, maxWorkers: 2 }),
      project(5, "e2e", { testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false, isolate: false }),
    ],
  },
});
