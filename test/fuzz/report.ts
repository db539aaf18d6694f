import { Redis } from "ioredis";
import { redisKeys } from "../../src/queue/redis-keys.ts";
import type { FuzzResult } from "./run-fuzz.ts";

export const FUZZ_PREFIX = "{fuzz}";
/** After a collection of garbage, from the end of the warm-up on. */
export const RSS_GROWTH_MAX_BYTES = 50 * 1024 * 1024;
export const HEAP_GROWTH_MAX_BYTES = 16 * 1024 * 1024;

/** VMs that Redis knows: every accepted one has a record from its first moment. */
export async function countVms(redisUrl: string, prefix = FUZZ_PREFIX): Promise<number> {
  const redis = new Redis(redisUrl);
  try {
    return await redis.zcard(redisKeys(prefix).allVms);
  } finally {
    redis.disconnect();
  }
}

export function rssGrowthBytes({ before, after }: FuzzResult): number {
  return after.rssBytes - before.rssBytes;
}

export function heapGrowthBytes({ before, after }: FuzzResult): number {
  return after.heapBytes - before.heapBytes;
}

/** A page of figures, then what should not have happened. */
export function describeFuzz(result: FuzzResult, elapsedMs: number): string {
  const { sent, answers, accepted, vms, warmUp, before, after, findings } = result;
  const mib = (bytes: number) => `${Math.round(bytes / 1024 / 1024)} MiB`;
  const byAnswer = Object.entries(answers)
    .sort(([, a], [, b]) => b - a)
    .map(([status, count]) => `${status}: ${count}`)
    .join(", ");
  return [
    `${sent} inputs in ${Math.round(elapsedMs / 1000)} s`,
    `answers            ${byAnswer}`,
    `right by chance    ${accepted} accepted, ${vms} VMs in Redis`,
    `memory             ${mib(before.rssBytes)} after ${warmUp} inputs, ${mib(after.rssBytes)} at the end (of it heap: ${mib(before.heapBytes)}, ${mib(after.heapBytes)})`,
    `findings           ${findings.length}`,
    ...findings,
  ].join("\n");
}
