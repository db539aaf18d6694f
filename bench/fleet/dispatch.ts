import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { compile, startScript } from "./processes.ts";
import { FleetQueue } from "./queue.ts";
import { openFleetWorld } from "./world.ts";

const FLOOR_QUEUE = "floor";
const PER_VM_MAX_MS = 500;
const LOOK_MS = 20;
const CHUNK_JOBS = 1_000;
const WARM_UP_MAX_MS = 300_000;

export interface Dispatch {
  readonly vms: number;
  readonly workers: number;
  /** VMs, or bare jobs, per second. */
  readonly drover: number;
  readonly floor: number;
}

/**
 * Short VMs through a fleet of workers, each a process of its own with `slots` places, against as many processes with as
 * many bare loops. Both sides fetch from a queue that was filled before.
 */
export async function measureDispatch({
  vms,
  workers,
  slots,
}: {
  readonly vms: number;
  readonly workers: number;
  readonly slots: number;
}): Promise<Dispatch> {
  const floor = await bareLoops({ vms, workers, slots });
  const drover = await fleet({ vms, workers, slots });
  return { vms, workers, drover, floor };
}

interface Size {
  readonly vms: number;
  readonly workers: number;
  readonly slots: number;
}

async function fleet({ vms, workers, slots }: Size): Promise<number> {
  const world = await openFleetWorld("short-qemu");
  const env = {
    ...world.env,
    MANAGER_QEMU_BIN_PATH: compile("short-qemu.c", world.dir),
    MANAGER_MAX_VMS: String(slots),
  };
  const queue = new FleetQueue(env);
  try {
    const numbers = Array.from({ length: workers }, (_, number) => String(number));
    const hosts = await Promise.all(
      numbers.map((number) => startScript("hosts.ts", [world.hostsDir, number, "1"], env)),
    );
    await queue.fill(warmUpOf({ workers, slots }));
    await queue.release();
    await queue.until("completed", warmUpOf({ workers, slots }), WARM_UP_MAX_MS);
    await queue.fill(vms);
    await queue.release();
    const tookMs = await queue.until("completed", warmUpOf({ workers, slots }) + vms, vms * PER_VM_MAX_MS);
    await Promise.all(hosts.map((host) => host.end()));
    return (vms / tookMs) * 1_000;
  } finally {
    await queue.close();
    await world.close();
  }
}

async function bareLoops({ vms, workers, slots }: Size): Promise<number> {
  const world = await openFleetWorld("/bin/true");
  const connection = new Redis(world.redisUrl, { maxRetriesPerRequest: null });
  const queue = new Queue(FLOOR_QUEUE, { connection });
  try {
    const loops = await Promise.all(
      Array.from({ length: workers }, (_, number) => {
        const dir = join(world.dir, `floor-${number}`);
        mkdirSync(dir);
        return startScript("bare-loop.ts", [world.redisUrl, FLOOR_QUEUE, dir, String(slots)]);
      }),
    );
    const warmUp = warmUpOf({ workers, slots });
    await runBare(queue, { from: 0, count: warmUp, timeoutMs: WARM_UP_MAX_MS });
    const tookMs = await runBare(queue, { from: warmUp, count: vms, timeoutMs: vms * PER_VM_MAX_MS });
    await Promise.all(loops.map((loop) => loop.end()));
    return (vms / tookMs) * 1_000;
  } finally {
    await queue.close();
    connection.disconnect();
    await world.close();
  }
}

/** Fills the paused queue, lets it go, and gives how long it took until all jobs up to these were completed (ms). */
async function runBare(
  queue: Queue,
  { from, count, timeoutMs }: { readonly from: number; readonly count: number; readonly timeoutMs: number },
): Promise<number> {
  await queue.pause();
  for (let at = 0; at < count; at += CHUNK_JOBS) {
    const ids = Array.from({ length: Math.min(CHUNK_JOBS, count - at) }, (_, index) => from + at + index);
    await queue.addBulk(ids.map((id) => ({ name: "vm", data: { id }, opts: { jobId: `j${id}`, priority: 1 } })));
  }
  await queue.resume();
  const begunMs = performance.now();
  const isDone = async () => (await queue.getCompletedCount()) >= from + count;
  await waitFor(isDone, { timeoutMs, intervalMs: LOOK_MS, what: "the bare loops" });
  return performance.now() - begunMs;
}

/** Until caches and the JIT of every process are warm, and the hosts' wait for each other after their start is over. */
function warmUpOf({ workers, slots }: Pick<Size, "workers" | "slots">): number {
  return 5 * workers * slots;
}
