import { setTimeout as delay } from "node:timers/promises";
import { Queue, Worker } from "bullmq";
import type { EventTap } from "../event-tap.ts";
import type { Fleet } from "./fleet.ts";

const TRY_AGAIN_MS = 50;

export interface RedisReturn {
  /** From the moment at which Redis answers again until the first VM runs that was asked for then. */
  readonly droverMs: number[];
  /** BullMQ with its default connections: until a job that was added during the outage is in a processor. */
  readonly bullmqMs: number[];
}

/** kill -9 of Redis, some outages of different lengths. */
export async function measureRedisReturn(
  { fleet, tap }: { fleet: Fleet; tap: EventTap },
  outagesMs: readonly number[],
): Promise<RedisReturn> {
  const result: RedisReturn = { droverMs: [], bullmqMs: [] };
  const peer = openPeer(fleet.redisUrl);
  await peer.oneJob("warm-up"); // its connections stand
  for (const outageMs of outagesMs) {
    await fleet.killRedis();
    await delay(outageMs / 2);
    const peerJob = peer.oneJob(`outage-${outageMs}`);
    await delay(outageMs / 2);
    const backMs = await fleet.returnRedis();
    const vmId = await submitPatiently(fleet);
    result.droverMs.push((await tap.arrival(vmId, "vm.running")) - backMs);
    result.bullmqMs.push((await peerJob) - backMs);
    await fleet.remove(vmId);
    await tap.arrival(vmId, "vm.removed");
  }
  await peer.close();
  return result;
}

async function submitPatiently(fleet: Fleet): Promise<string> {
  for (;;) {
    const vmId = await fleet.submit().catch(() => undefined); // 503: Redis is not back for the API yet
    if (vmId !== undefined) return vmId;
    await delay(TRY_AGAIN_MS);
  }
}

function openPeer(url: string) {
  const waiting = new Map<string, (atMs: number) => void>();
  const connection = { url };
  const worker = new Worker("peer-return", async (job) => waiting.get(job.name)?.(performance.now()), { connection });
  const queue = new Queue("peer-return", { connection });
  worker.on("error", () => undefined); // Redis is away: that is the point
  queue.on("error", () => undefined);
  return {
    async oneJob(name: string): Promise<number> {
      const processed = new Promise<number>((resolve) => void waiting.set(name, resolve));
      await queue.add(name, {});
      return processed;
    },
    async close() {
      await worker.close(true);
      await queue.close();
    },
  };
}
