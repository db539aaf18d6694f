import { vmIdOfItem } from "../runtime/batch-id.ts";
import type { RedisClient } from "./connection.ts";
import { loadScript } from "./lua-script.ts";
import type { RedisKeys } from "./redis-keys.ts";

const replaceScript = loadScript("batch-replace-box-1");

/** Boxes read in one step. */
const STEP_BOXES = 100;
/** The shared secrets of a batch, a field of its hash. */
const SHARED_FIELD = "shared";

/** A sealed box that waits in Redis, and what it is sealed for. */
export interface WaitingBox {
  readonly owner: string;
  /** The VM whose it becomes; the batch itself for shared secrets. */
  readonly vmId: string;
  readonly box: string;
  /** Puts another box of the same secrets in its place; false when it has gone or changed meanwhile. */
  replace(fresh: string): Promise<boolean>;
}

/** All boxes of batches whose items are not in the queue yet. Stops with the signal's reason. */
export async function* batchBoxes(
  { redis, keys }: { readonly redis: RedisClient; readonly keys: RedisKeys },
  signal: AbortSignal,
): AsyncGenerator<WaitingBox> {
  const replace = async (key: string, field: string, { box, fresh }: { box: string; fresh: string }) =>
    (await replaceScript.run(redis, [key], { field, old: box, new: fresh })) === 1;
  for (const batchId of await redis.smembers(keys.openBatches)) {
    const [owner, total, shared] = await redis.hmget(keys.batch(batchId), "owner", "total", SHARED_FIELD);
    if (owner == null) continue;
    if (shared != null) {
      const key = keys.batch(batchId);
      yield {
        owner,
        vmId: batchId,
        box: shared,
        replace: (fresh) => replace(key, SHARED_FIELD, { box: shared, fresh }),
      };
    }
    const key = keys.batchPart(batchId, "boxes");
    for (let first = 0; first < Number(total) && (await redis.exists(key)) === 1; first += STEP_BOXES) {
      signal.throwIfAborted();
      const fields = Array.from({ length: STEP_BOXES }, (_none, at) => String(first + at));
      for (const [at, box] of (await redis.hmget(key, ...fields)).entries()) {
        if (box === null) continue; // without secrets, or its VM is made and has a box of its own
        const vmId = vmIdOfItem(batchId, first + at);
        yield { owner, vmId, box, replace: (fresh) => replace(key, String(first + at), { box, fresh }) };
      }
    }
  }
}
