import { stat } from "node:fs/promises";
import { findLaunchesOf } from "../../qemu/process-scan.ts";
import { pause, TIME_UP, within } from "../../runtime/bounded-wait.ts";
import { errnoOf } from "../../runtime/errno.ts";
import { type GuardOrder, readOrder } from "./guard-order.ts";
import { MachineEnder } from "./machine-ender.ts";
import { uptimeMs } from "./uptime.ts";

/** How soon the guard goes when it is told to, and follows a deadline that was brought forward. */
const LOOK_MS = 1_000;
/** After a miss: a worker that hung may wake up in the middle of a launch. */
const RESCAN_MS = 250;
/** When nothing has come for so long after a miss, looking each second is enough. */
const CLOSE_LOOK_MS = 30_000;
/** A disk that does not answer is one on which no worker refreshes its deadline. */
const FILE_MS = 500;
const SHORTEST_PAUSE_MS = 10;

export interface Watch {
  readonly stateDir: string;
  readonly stateId: string;
  readonly bootId: string;
  readonly log: (line: string) => void;
}

/**
 * The guard's life: whenever the deadline has passed, every QEMU of the state directory is ended, again and again,
 * until there is a fresh deadline. Its own death would be the only thing that nobody notices while the worker is dead,
 * so no file, readable or not, ends it but an order to go, or the loss of the whole state directory.
 * Resolves with the reason why the guard is not needed any more.
 */
export async function watchDeadline(watch: Watch): Promise<string> {
  const ender = new MachineEnder(watch.stateDir, watch.log);
  /** What was last understood; what cannot be read is taken for unchanged. */
  let deadlineMs: number | undefined;
  let missedAtMs: number | undefined;
  for (;;) {
    try {
      const order = await currentOrder(watch);
      if (order !== undefined && order.stateId !== watch.stateId) return "the state directory is another host's now";
      if (order?.deadlineUptimeMs === null) return "dismissed";
      deadlineMs = order?.deadlineUptimeMs ?? deadlineMs;
      if (await isGone(watch.stateDir)) return "the state directory is gone, and no VM of it lives";
    } catch (error) {
      watch.log(`looking for the deadline failed: ${error instanceof Error ? error.message : String(error)}`);
    }
    const nowMs = uptimeMs();
    const leftMs = deadlineMs === undefined ? Number.POSITIVE_INFINITY : deadlineMs - nowMs;
    if (deadlineMs !== undefined && leftMs <= 0) {
      if (missedAtMs === undefined) watch.log(`the deadline was missed by ${-leftMs} ms: ending all VMs`);
      missedAtMs ??= nowMs;
      if (endAll(ender, deadlineMs, watch) > 0) missedAtMs = nowMs;
    } else if (missedAtMs !== undefined) {
      watch.log("there is a fresh deadline");
      missedAtMs = undefined;
    }
    await pause(missedAtMs === undefined ? waitFor(leftMs) : nowMs - missedAtMs < CLOSE_LOOK_MS ? RESCAN_MS : LOOK_MS);
  }
}

function waitFor(leftMs: number): number {
  return Math.max(SHORTEST_PAUSE_MS, Math.min(LOOK_MS, leftMs));
}

function endAll(ender: MachineEnder, deadlineMs: number, { log }: Watch): number {
  try {
    return ender.sweep(deadlineMs);
  } catch (error) {
    log(`looking for VMs failed: ${error instanceof Error ? error.message : String(error)}`);
    return 0;
  }
}

/** The order of this boot; undefined when there is none or the file cannot be understood or read in time. */
async function currentOrder({ stateDir, bootId, log }: Watch): Promise<GuardOrder | undefined> {
  const read = readOrder(stateDir).catch((error: unknown) => {
    log(`the deadline cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  });
  const order = await within(read, FILE_MS);
  return order === TIME_UP || order?.bootId !== bootId ? undefined : order;
}

/** A state directory that somebody deleted is no reason to leave its VMs alone. */
async function isGone(stateDir: string): Promise<boolean> {
  const found = stat(stateDir).then(
    () => "there",
    (error: unknown) => errnoOf(error),
  );
  return (await within(found, FILE_MS)) === "ENOENT" && findLaunchesOf(stateDir).length === 0;
}
