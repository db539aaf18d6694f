import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { compile, startDroverWorker, usage } from "./processes.ts";
import { FleetQueue } from "./queue.ts";
import { openFleetWorld } from "./world.ts";

const START_MAX_MS = 120_000;
/** What belongs to the start (garbage of it, console readers that slow down) is over by then. */
const SETTLE_MS = 15_000;

interface Idle {
  /** Share of one core, in percent. */
  readonly cpuPercent: number;
  readonly rssBytes: number;
}

export interface IdleWorker {
  readonly vms: number;
  readonly withVms: Idle;
  /** The same process without a VM. */
  readonly without: Idle;
}

/** What `drover worker` uses while its VMs run and nothing happens, over `seconds`. */
export async function measureIdleWorker({
  vms,
  seconds,
}: {
  readonly vms: number;
  readonly seconds: number;
}): Promise<IdleWorker> {
  const world = await openFleetWorld("bare-machine");
  const env = {
    ...world.env,
    MANAGER_QEMU_BIN_PATH: compile("bare-machine.c", world.dir),
    DROVER_STATE_DIR: join(world.hostsDir, "idle"),
    MANAGER_INSTANCE_ID: "idle",
    MANAGER_QEMU_HOST_FWD_RANGE: `12000-${12_000 + 2 * vms}`,
    MANAGER_MAX_VMS: String(vms),
    MANAGER_LOG_LEVEL: "info",
  };
  const queue = new FleetQueue(env);
  try {
    const worker = await startDroverWorker(env);
    await delay(SETTLE_MS);
    const without = await over(worker.pid, seconds);
    await queue.fill(vms);
    await queue.release();
    await queue.until("running", vms, START_MAX_MS);
    await delay(SETTLE_MS);
    const withVms = await over(worker.pid, seconds);
    await worker.end();
    return { vms, withVms, without };
  } finally {
    await queue.close();
    await world.close();
  }
}

async function over(pid: number, seconds: number): Promise<Idle> {
  const before = usage(pid);
  const begunMs = performance.now();
  await delay(seconds * 1_000);
  const after = usage(pid);
  const cpuPercent = ((after.cpuMs - before.cpuMs) / (performance.now() - begunMs)) * 100;
  return { cpuPercent, rssBytes: after.rssBytes };
}
