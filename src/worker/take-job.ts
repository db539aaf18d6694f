import type { Logger } from "pino";
import type { Tee } from "../contract/qemu-config.ts";
import { isFinal } from "../contract/vm-state.ts";
import { describeTee } from "../qemu/host-detection.ts";
import { isVmId } from "../qemu/vm-paths.ts";
import type { ClaimedJob } from "../queue/job-claims.ts";
import type { LaunchIdentity, RecordFields } from "../queue/launch-moves.ts";
import type { Clock } from "../runtime/clock.ts";
import type { FailPoints } from "./fail-points.ts";
import { giveBack } from "./give-back.ts";
import type { HostState } from "./host-state.ts";
import type { Launch } from "./launch.ts";
import type { LaunchFiles } from "./launch-files.ts";
import { newLocalRecord } from "./local-record.ts";
import type { MemoryRoom } from "./memory-room.ts";
import type { Stores } from "./stores.ts";
import { vmGpu, vmTee } from "./vm-hardware.ts";
import type { VmRuns } from "./vm-runs.ts";

/** Back soon, but no hot loop: somebody else may take it meanwhile. */
const GIVE_BACK_MS = 2_000;
/** A newer worker of the fleet takes what this one cannot read. */
const GIVE_BACK_NEWER_MS = 30_000;
/** Others have this long to take what a host with a full disk could not. */
const GIVE_BACK_UNFIT_MS = 10_000;

/** The host itself is at fault: the job has gone back, and the next one would fare no better for a while. */
export class HostUnfit extends Error {
  override readonly name = "HostUnfit";
}

export interface TakeJobDeps extends Pick<Stores, "claims" | "launches" | "store"> {
  readonly host: Pick<HostState, "hostId" | "stateId" | "bootId">;
  readonly files: LaunchFiles;
  readonly runs: Pick<VmRuns, "hasVm" | "freeGpu">;
  readonly tee: Tee;
  readonly memory: Pick<MemoryRoom, "sizeOf">;
  readonly failPoints: FailPoints;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What every VM record of this host says: the accelerator. */
  readonly hostFields: RecordFields;
}

/**
 * From a fetched job to a launch: intent on disk, then the port. Undefined when there is nothing to launch; the job is
 * settled or given back then and nothing is left on disk. Throws for a VM that is in this host's hands already: the
 * reconciler settles whose it is. Runs under the host's mutex.
 */
export async function takeJob(deps: TakeJobDeps, job: ClaimedJob): Promise<Launch | undefined> {
  const { host, files, failPoints, claims, launches, logger } = deps;
  const vmName = job.data.ok ? job.data.value.spec.name : undefined;
  await failPoints.reach("L1-fetched", vmName);
  if (!job.data.ok && job.data.newer) {
    logger.warn({ vmId: job.vmId }, "a job of a newer version goes back to the queue");
    await giveBack(deps, job, GIVE_BACK_NEWER_MS);
    return undefined;
  }
  if (!isVmId(job.vmId)) {
    logger.error({ jobId: job.vmId }, "a job in the queue is none of drover's: somebody else put it there");
    await claims.failForGood(job, { message: "no VM of drover's", story: "the job's id is no VM id" });
    return undefined;
  }
  // Redis has put a VM back into the queue that lives here, or whose end is under way: its directory, which may be that
  // of the same epoch, must not be touched; and given back it might run elsewhere before Redis is told.
  if (deps.runs.hasVm(job.vmId)) throw new Error(`VM ${job.vmId} was fetched and is in this host's hands already`);
  // Data that nobody can read becomes a launch too, which fails at once: so record, event and job end as always.
  const record = newLocalRecord(host, job, deps.clock.nowMs());
  const { job: data, createdAtMs: startedAtMs } = record;
  const paths = files.paths(job);
  try {
    await files.makeDirectory(paths);
    await failPoints.reach("L2-directory", vmName);
    await files.writeRecord(paths, record);
    await failPoints.reach("L3-intent", vmName);
  } catch (error) {
    // Without the intent on disk nothing may be launched: a full disk must not turn into a VM that nobody knows of.
    logger.error({ err: error, vmId: job.vmId }, "the launch could not be written to disk; the job goes back");
    await files.removeDirectory(paths).catch(() => undefined); // as far as the disk lets it; the next start finds the rest
    await giveBack(deps, job, GIVE_BACK_UNFIT_MS);
    throw new HostUnfit("this host cannot write to its state directory", { cause: error });
  }
  const identity: LaunchIdentity = {
    vmId: job.vmId,
    pool: job.pool,
    priority: data.spec.priority ?? "normal",
    host: host.hostId,
    epoch: job.epoch,
    token: job.token,
  };
  const tee = describeTee(vmTee(data.spec, deps.tee));
  const gpu = vmGpu(data.spec, deps.runs.freeGpu);
  const memoryBytes = deps.memory.sizeOf(data.spec)?.bytes;
  const prepared = await launches.prepare(identity, {
    ...deps.hostFields,
    tee,
    gpu: gpu === false ? null : gpu,
    memoryBytes: memoryBytes === undefined ? null : String(memoryBytes),
  });
  if (prepared.kind !== "prepared") {
    await settleRefused(deps, job, prepared.kind);
    await files.removeDirectory(paths);
    return undefined;
  }
  await failPoints.reach("L4-port", vmName);
  const { attempts, attemptsMade, hasSecrets, launches: earlierLaunches, deadlineAtMs, avoid } = prepared.history;
  return {
    identity,
    owner: data.owner,
    spec: data.spec,
    attempts,
    attemptsMade,
    hasSecrets,
    earlierLaunches,
    avoid,
    crashes: prepared.history.crashes,
    deadlineAtMs,
    gpu,
    memoryBytes,
    paths,
    startedAtMs,
    queuedAtMs: prepared.history.queuedAtMs,
    trace: prepared.history.trace,
    record: { ...record, attemptsMade, port: prepared.port },
    state: "preparing",
    ended: false,
    port: prepared.port,
    command: undefined,
    problem: job.data.ok ? undefined : job.data.problem,
  };
}

/** PREPARE said no: the job is settled from the record, or given back. */
async function settleRefused(deps: TakeJobDeps, job: ClaimedJob, refusal: string): Promise<void> {
  const { claims, store, logger } = deps;
  logger.info({ vmId: job.vmId, refusal }, "a fetched VM is not launched");
  if (refusal === "no_record") {
    // Removed and purged, or never accepted: nobody asks for this VM, and given back it would come again for ever.
    await claims.failForGood(job, { message: "no record", story: "the queue had a job of a VM that has no record" });
    return;
  }
  if (refusal === "marked" || refusal === "wrong_state") {
    const record = await store.get(job.vmId);
    if (record !== undefined && isFinal(record.state)) {
      if (record.state === "failed")
        await claims.failForGood(job, { message: record.cause?.code ?? "failed", story: "see the VM's record" });
      else await claims.complete(job, { outcome: record.state, reason: record.endReason ?? null });
      return;
    }
  }
  await giveBack(deps, job, GIVE_BACK_MS);
}
