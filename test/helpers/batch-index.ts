import { readBatch } from "../../src/queue/batch-record.ts";
import { itemState } from "../../src/queue/batch-states.ts";
import type { RedisClient } from "../../src/queue/connection.ts";
import type { RedisKeys } from "../../src/queue/redis-keys.ts";
import { itemOfVmId } from "../../src/runtime/batch-id.ts";

interface VmFacts {
  readonly vmId: string;
  readonly state: string;
}

/** What batches say that is not so: of their items, of the VMs that have records, of the lists that they stand in. */
export async function batchProblems(
  redis: RedisClient,
  keys: RedisKeys,
  records: readonly VmFacts[],
): Promise<string[]> {
  const problems: string[] = [];
  const [open, ended] = [await redis.smembers(keys.openBatches), await redis.zrange(keys.endedBatches, "0", "-1")];
  for (const batchId of await redis.zrange(keys.batches, "0", "-1")) {
    const batch = readBatch(await redis.hgetall(keys.batch(batchId)));
    const letters = (await redis.get(keys.batchPart(batchId, "states"))) ?? "";
    if (batch === undefined) {
      problems.push(`batch ${batchId} is listed and not there`);
      continue;
    }
    const states = [...letters].map(itemState);
    for (const [state, count] of Object.entries(batch.counts)) {
      const there = states.filter((one) => one === state).length;
      if (there !== count) problems.push(`batch ${batchId} counts ${count} items as ${state}, there are ${there}`);
    }
    const isEnded = batch.state === "ended";
    if (isEnded !== (batch.ended === batch.total)) problems.push(`batch ${batchId} is ${batch.state}`);
    if (isEnded === open.includes(batchId) || isEnded !== ended.includes(batchId))
      problems.push(`batch ${batchId} is ${batch.state} and stands in the list of others`);
    const hasBoxes = (await redis.exists(keys.batchPart(batchId, "boxes"))) === 1;
    if (hasBoxes && batch.counts.listed === 0) problems.push(`batch ${batchId} lists nothing and has sealed boxes`);
    for (const { vmId, state } of records) {
      const place = itemOfVmId(vmId);
      if (place?.batchId === batchId && states[place.index] !== state && letters[place.index] !== "a")
        problems.push(`${vmId} is ${state}, its batch counts it as ${states[place.index]}`);
    }
  }
  return problems;
}
