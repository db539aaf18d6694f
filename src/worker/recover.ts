import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { DamagedFile, readDurable } from "../qemu/durable-file.ts";
import { endProcess } from "../qemu/end-process.ts";
import { isAlive, type ProcessIdentity } from "../qemu/process-identity.ts";
import { findByUuid } from "../qemu/process-scan.ts";
import { listVmDirectories, removeVmDirectory } from "../qemu/vm-directory.ts";
import { vmPaths } from "../qemu/vm-paths.ts";
import type { VmStore } from "../queue/vm-store.ts";
import { EndPlan } from "./end-plan.ts";
import { type EndDeps, finishEnd } from "./end-vm.ts";
import type { HostState } from "./host-state.ts";
import type { Launch } from "./launch.ts";
import { LocalRecord } from "./local-record.ts";
import type { EndedLaunch } from "./settle-end.ts";

const TERM_MS = 2_000;
const REQUEUE_DELAY_MS = 1_000;

export interface RecoverDeps extends EndDeps {
  readonly host: HostState;
  readonly store: VmStore;
}

/**
 * What a predecessor that died left on this host: ends that were decided are finished as decided; launches without an
 * end are undone and go back to the queue without using an attempt. No QEMU of theirs lives on.
 */
export async function recoverLeftovers(deps: RecoverDeps): Promise<void> {
  for (const { vmId, epoch } of await listVmDirectories(deps.host.stateDir)) {
    try {
      await recoverOne(deps, vmId, epoch);
    } catch (error) {
      if (!(error instanceof DamagedFile)) throw error;
      const place = join(deps.host.stateDir, "quarantine", `${vmId}-${epoch}-${Date.now()}`);
      await mkdir(join(deps.host.stateDir, "quarantine"), { recursive: true, mode: 0o700 });
      await rename(join(deps.host.vmsDir, vmId, String(epoch)), place);
      deps.logger.error({ vmId, epoch, place, err: error }, "a launch's record on disk is damaged; it was set aside");
    }
  }
}

async function recoverOne(deps: RecoverDeps, vmId: string, epoch: number): Promise<void> {
  const { host, logger } = deps;
  const bare = vmPaths({ stateDir: host.stateDir, vmId, epoch, diskFormat: deps.config.qemu.disk.format });
  // By uuid first: a QEMU is ended also when its record turns out to be damaged.
  await endProcesses(deps, vmId, findByUuid(vmId));
  const record = await readDurable(bare.record, LocalRecord);
  await endProcesses(deps, vmId, recordedProcess(record, host));
  if (record === undefined) {
    await removeVmDirectory(bare); // died between making the directory and writing the intent: nothing was launched
    return;
  }
  const launch = await endedLaunch(deps, record, bare);
  const plan = (await readDurable(bare.end, EndPlan)) ?? undonePlan(record, record.bootId === host.bootId);
  logger.warn({ vmId, epoch, outcome: plan.outcome, reason: plan.reason }, "finishing what an earlier worker left");
  await finishEnd(deps, launch, plan);
}

async function endProcesses({ logger }: RecoverDeps, vmId: string, left: readonly ProcessIdentity[]): Promise<void> {
  for (const process of left) {
    if (!isAlive(process)) continue;
    logger.warn({ vmId, pid: process.pid }, "ending a QEMU that an earlier worker left");
    await endProcess(process, { termMs: TERM_MS });
  }
}

/** The process of the record, if pids of that boot mean anything now. */
function recordedProcess(record: LocalRecord | undefined, host: HostState): readonly ProcessIdentity[] {
  if (record === undefined || record.pid === null || record.startTimeTicks === null || record.bootId !== host.bootId)
    return [];
  return [{ pid: record.pid, startTimeTicks: record.startTimeTicks }];
}

async function endedLaunch(
  { store, host, config }: RecoverDeps,
  local: LocalRecord,
  paths: Launch["paths"],
): Promise<EndedLaunch & Pick<Launch, "paths">> {
  const record = await store.get(local.vmId);
  return {
    identity: {
      vmId: local.vmId,
      pool: local.job.pool,
      priority: local.job.spec.priority ?? "normal",
      host: host.hostId,
      epoch: local.epoch,
      token: local.token,
    },
    attempts: record?.attempts ?? local.job.spec.attempts ?? config.launch.attempts,
    port: local.port ?? record?.port,
    startedAtMs: local.createdAtMs,
    avoid: record?.avoid ?? {},
    earlierLaunches: record?.launches ?? [],
    command: undefined,
    paths,
  };
}

function undonePlan(record: LocalRecord, sameBoot: boolean): EndPlan {
  const cause = sameBoot
    ? ({ code: "worker_crashed", message: "the worker died during this launch" } as const)
    : ({ code: "host_shutdown", message: "the machine was restarted" } as const);
  return {
    v: 1,
    outcome: "requeued",
    reason: cause.code,
    cause,
    exitCode: null,
    resultData: null,
    delayMs: REQUEUE_DELAY_MS,
    attemptsMade: record.attemptsMade,
    avoidUntilMs: null,
    endedAtMs: Date.now(),
    tail: { console: "", qemu: "" },
  };
}
