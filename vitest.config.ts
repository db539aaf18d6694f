import { defineConfig } from "vitest/config";

// Groups by what they need. `qemu` and `guest` start real machines, so that their files run few at a time on two cores.
const project = (name: string, extra: object = {}) => ({
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout: 20_000, hookTimeout: 30_000, ...extra },
});

export default defineConfig({
  test: {
    projects: [
      project("unit"),
      project("redis", { globalSetup: ["test/helpers/redis-global-setup.ts"] }),
      project("qemu", { testTimeout: 60_000, maxWorkers: 2 }),
      project("guest", { testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false }),
      project("cli", { testTimeout: 60_000, maxWorkers: 2 }),
      project("e2e", { testTimeout: 120_000, hookTimeout: 60_000, fileParallelism: false }),
    ],
  },
});
