import type { VmRecord } from "../contract/vm-record.ts";
import type { RedisClient } from "./connection.ts";
import { poolQueueName, type RedisKeys } from "./redis-keys.ts";

/**
 * Where the job of a VM that waits stands: `queued` behind `ahead` others, `delayed` until a time (Unix ms), `fetched`
 * by a host a moment ago, or `absent`, which it is until it was added. `paused`: nothing of its queue is fetched.
 */
export type QueuePlace = { readonly paused: boolean } & (
  | { readonly kind: "queued"; readonly ahead: number }
  | { readonly kind: "delayed"; readonly untilMs: number }
  | { readonly kind: "fetched" }
  | { readonly kind: "absent" }
);

/** BullMQ keeps an order among jobs of one time in the low bits of the score. */
const DELAYED_UNIT = 0x1000;

/** The places of VMs that wait, in the order asked. */
export async function readPlaces(
  { redis, keys }: { readonly redis: RedisClient; readonly keys: RedisKeys },
  vms: readonly Pick<VmRecord, "vmId" | "pool">[],
): Promise<readonly QueuePlace[]> {
  if (vms.length === 0) return [];
  const pipeline = redis.pipeline();
  for (const { vmId, pool } of vms) {
    const key = (part: string) => keys.bull(poolQueueName(pool), part);
    pipeline.zrank(key("prioritized"), vmId).zscore(key("delayed"), vmId);
    pipeline.exists(key(`${vmId}:lock`)).hexists(key("meta"), "paused");
  }
  const replies = ((await pipeline.exec()) ?? []).map(([error, value]) => {
    if (error !== null) throw error;
    return value;
  });
  return vms.map((_, index) => {
    const [rank, due, lock, pause] = replies.slice(4 * index, 4 * index + 4);
    const paused = pause === 1;
    if (typeof rank === "number") return { kind: "queued", ahead: rank, paused };
    if (typeof due === "string") return { kind: "delayed", untilMs: Math.floor(Number(due) / DELAYED_UNIT), paused };
    return { kind: lock === 1 ? "fetched" : "absent", paused };
  });
}
