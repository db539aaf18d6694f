import { randomUUID } from "node:crypto";
import { expect, inject, test } from "vitest";
import {
  countVms,
  describeFuzz,
  HEAP_GROWTH_MAX_BYTES,
  heapGrowthBytes,
  RSS_GROWTH_MAX_BYTES,
  rssGrowthBytes,
} from "../fuzz/report.ts";
import { runFuzz } from "../fuzz/run-fuzz.ts";
import { startTarget } from "../fuzz/start-target.ts";

const INPUTS = 10_000;

test("10,000 malformed inputs are all refused: no failure, no end, no VM, no memory kept", async () => {
  const redisUrl = inject("redisUrl");
  const prefix = `{test-${randomUUID()}}`;
  const seed = Math.floor(Math.random() * 1_000_000);
  await using target = await startTarget({ redisUrl, prefix });
  const startedMs = performance.now();
  const result = await runFuzz({ target, seed, count: INPUTS, countVms: () => countVms(redisUrl, prefix) });
  const page = `seed ${seed}\n${describeFuzz(result, performance.now() - startedMs)}`;
  expect(result.findings, page).toEqual([]);
  expect(result.sent).toBe(INPUTS);
  expect(heapGrowthBytes(result), page).toBeLessThan(HEAP_GROWTH_MAX_BYTES);
  expect(rssGrowthBytes(result), `${page}\n(allocators still warm up in so short a run)`).toBeLessThan(
    2 * RSS_GROWTH_MAX_BYTES,
  );
}, 120_000);
