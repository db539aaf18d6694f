import { mkdir, rename } from "node:fs/promises";
import { basename, join } from "node:path";
import type { VmRecord } from "../contract/vm-record.ts";
import { DamagedFile, readDurable, writeDurably } from "../qemu/durable-file.ts";
import { findByUuid } from "../qemu/process-scan.ts";
import { listVmDirectories, makeVmDirectory, removeVmDirectory } from "../qemu/vm-directory.ts";
import { type VmPaths, vmPaths } from "../qemu/vm-paths.ts";
import type { VmStore } from "../queue/vm-store.ts";
import { endProcess } from "../runtime/end-process.ts";
import { errnoOf } from "../runtime/errno.ts";
import { isAlive, type ProcessIdentity } from "../runtime/process-identity.ts";
import { EndPlan } from "./end-plan.ts";
import { type EndDeps, finishEnd } from "./end-vm.ts";
import type { HostState } from "./host-state.ts";
import type { Launch } from "./launch.ts";
import { LocalRecord, newLocalRecord } from "./local-record.ts";
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
      await setAside(deps, { vmId, epoch, error });
    }
  }
}

/**
 * Jobs that are ours in Redis and of which this host knows nothing: their worker died before its intent was on disk,
 * the reply to a fetch was lost, or the record was damaged. Each gets a record, and is then undone like any launch of
 * a worker that died. `isKnown` is asked under the host's mutex, so that no fetch is half way.
 */
export async function recoverUnknownJobs(
  deps: RecoverDeps,
  isKnown: (job: { vmId: string; token: string }) => boolean,
): Promise<void> {
  const { claims, host, mutex, logger } = deps;
  const unknown = await mutex.run(() => claims.unknown(`${host.hostId}:${host.stateId}:`, isKnown));
  for (const job of unknown) {
    const { vmId, epoch } = job;
    logger.warn({ vmId, epoch }, "a job is ours in Redis and nobody here knows of it");
    try {
      const paths = pathsOf(deps, vmId, epoch);
      await makeVmDirectory(paths);
      await writeDurably(paths.record, JSON.stringify(newLocalRecord(host, job)));
      await recoverOne(deps, vmId, epoch);
    } catch (error) {
      logger.error({ vmId, epoch, err: error }, "an unknown job could not be taken back; it is tried again");
    }
  }
}

/** What explains a damaged launch is kept for people; its secrets, disk and raw output are not. */
async function setAside(
  { host, logger, ...deps }: RecoverDeps,
  { vmId, epoch, error }: { vmId: string; epoch: number; error: Error },
): Promise<void> {
  const paths = pathsOf({ host, ...deps }, vmId, epoch);
  const place = join(host.stateDir, "quarantine", `${vmId}-${epoch}-${Date.now()}`);
  await mkdir(place, { recursive: true, mode: 0o700 });
  for (const file of [paths.record, paths.end]) {
    await rename(file, join(place, basename(file))).catch((cause: unknown) => {
      if (errnoOf(cause) !== "ENOENT") throw cause;
    });
  }
  await removeVmDirectory(paths);
  logger.error({ vmId, epoch, place, err: error }, "a launch's record on disk is damaged; it was set aside");
}

function pathsOf({ host, config }: Pick<RecoverDeps, "host" | "config">, vmId: string, epoch: number): VmPaths {
  return vmPaths({ stateDir: host.stateDir, vmId, epoch, diskFormat: config.qemu.disk.format });
}

async function recoverOne(deps: RecoverDeps, vmId: string, epoch: number): Promise<void> {
  const { host, store, logger } = deps;
  const bare = pathsOf(deps, vmId, epoch);
  // By uuid first: a QEMU is ended also when its record turns out to be damaged.
  await endProcesses(deps, vmId, findByUuid(vmId));
  const record = await readDurable(bare.record, LocalRecord);
  await endProcesses(deps, vmId, recordedProcess(record, host));
  if (record === undefined) {
    await removeVmDirectory(bare); // died between making the directory and writing the intent: nothing was launched
    return;
  }
  const known = await store.get(vmId);
  const launch = endedLaunch(deps, { local: record, known, paths: bare });
  // Attempts come from Redis: a launch that did not get far has not written them to disk.
  const attemptsMade = known?.attemptsMade ?? record.attemptsMade;
  const plan = (await readDurable(bare.end, EndPlan)) ?? undonePlan(attemptsMade, record.bootId === host.bootId);
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

function endedLaunch(
  { host, config }: RecoverDeps,
  { local, known, paths }: { local: LocalRecord; known: VmRecord | undefined; paths: VmPaths },
): EndedLaunch & Pick<Launch, "paths"> {
  return {
    identity: {
      vmId: local.vmId,
      pool: local.job.pool,
      priority: local.job.spec.priority ?? "normal",
      host: host.hostId,
      epoch: local.epoch,
      token: local.token,
    },
    attempts: known?.attempts ?? config.launch.attempts,
    port: local.port ?? known?.port,
    startedAtMs: local.createdAtMs,
    avoid: known?.avoid ?? {},
    earlierLaunches: known?.launches ?? [],
    command: undefined,
    paths,
  };
}

function undonePlan(attemptsMade: number, sameBoot: boolean): EndPlan {
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
    attemptsMade,
    avoidUntilMs: null,
    endedAtMs: Date.now(),
    tail: { console: "", qemu: "" },
  };
}
