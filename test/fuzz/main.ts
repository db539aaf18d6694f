/**
 * Sends malformed inputs to the API and judges every answer:
 *
 *     npm run fuzz -- [--count 100000] [--seed S]
 *
 * Without a seed it draws one and prints it; the same seed and count send the same inputs again.
 */
import { parseArgs } from "node:util";
import { startRedis } from "../helpers/redis-server.ts";
import {
  countVms,
  describeFuzz,
  FUZZ_PREFIX,
  HEAP_GROWTH_MAX_BYTES,
  heapGrowthBytes,
  RSS_GROWTH_MAX_BYTES,
  rssGrowthBytes,
} from "./report.ts";
import { runFuzz } from "./run-fuzz.ts";
import { startTarget } from "./start-target.ts";

const { values } = parseArgs({
  options: { count: { type: "string", default: "100000" }, seed: { type: "string" } },
});

const seed = Number(values.seed ?? Date.now() % 1_000_000);
console.log(`fuzz with seed ${seed}`);
await using redis = await startRedis();
await using target = await startTarget({ redisUrl: redis.url, prefix: FUZZ_PREFIX });
const startedMs = performance.now();
const result = await runFuzz({ target, seed, count: Number(values.count), countVms: () => countVms(redis.url) });
console.log(describeFuzz(result, performance.now() - startedMs));
const isFlat = rssGrowthBytes(result) < RSS_GROWTH_MAX_BYTES && heapGrowthBytes(result) < HEAP_GROWTH_MAX_BYTES;
if (!isFlat) console.log("the memory grew more than it may");
process.exitCode = isFlat && result.findings.length === 0 ? 0 : 1;
