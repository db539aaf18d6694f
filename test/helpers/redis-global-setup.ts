import type { TestProject } from "vitest/node";
import { startRedis } from "./redis-server.ts";

declare module "vitest" {
  interface ProvidedContext {
    redisUrl: string;
  }
}

/** One Redis for the group; every test has a key prefix of its own in it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = await startRedis();
  process.stdout.write(`tests use Redis from: ${server.origin}\n`);
  project.provide("redisUrl", server.url);
  return () => server.stop();
}
