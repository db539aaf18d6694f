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
      project(1, "model", { testTimeout: 120_000 }),
      project(2, "redis", { globalSetup: ["test/helpers/redis-global-setup.ts"] }),
      project(3, "qemu", { testTimeout: 60_000, maxWorkers: 2 }),
      project(4, "guest", { testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false }),
      project(5, "cli", { testTimeout: 60_000, maxWorkers: 2 }),
      project(6, "pages", {
        testTimeout: 60_000,
        maxWorkers: 2,
        globalSetup: ["test/helpers/redis-global-setup.ts"],
      }),
      project(7, "e2e", { testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false, isolate: false }),
      project(8, "chaos", { testTimeout: 300_000, fileParallelism: false }),
      project(9, "container", { testTimeout: 180_000, hookTimeout: 120_000, fileParallelism: false }),
    ],
  },
});
