import { performance } from "node:perf_hooks";
import type { Counting } from "../runtime/metrics/meter.ts";
import type { RedisClient } from "./connection.ts";

const counted = new WeakMap<RedisClient, Counting>();

/** From now on the scripts that are run over this connection are timed. */
export function timeScripts(redis: RedisClient, counting: Counting): void {
  counted.set(redis, counting);
}

/** Runs a script, and times it where its connection is timed. Rejects as the script does. */
export async function timed<T>(redis: RedisClient, script: string, run: () => Promise<T>): Promise<T> {
  const counting = counted.get(redis);
  if (counting === undefined) return run();
  const startedMs = performance.now();
  try {
    return await run();
  } catch (error) {
    counting.count("drover_redis_script_errors_total", { script });
    throw error;
  } finally {
    counting.observe("drover_redis_script_seconds", { script }, (performance.now() - startedMs) / 1_000);
  }
}
