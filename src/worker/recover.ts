import type { VmRecord } from "../contract/vm-record.ts";
import { isFinal, type VmState } from "../contract/vm-state.ts";
import { DamagedFile } from "../qemu/durable-file.ts";
import type { VmPaths } from "../qemu/vm-paths.ts";
import type { ClaimedJob } from "../queue/job-claims.ts";
import type { ClaimOutcome, LiveState } from "../queue/ownership.ts";
import type { ProcessIdentity } from "../runtime/process-identity.ts";
import { vanished } from "./adopt-vm.ts";
import type { LaunchEnd } from "./end-plan.ts";
import type { HostState } from "./host-state.ts";
import { type Launch, launchFromDisk, toLive } from "./launch.ts";
import { type LocalRecord, NewerRecord, newLocalRecord } from "./local-record.ts";
import type { RunVmDeps } from "./run-vm.ts";
import { GUARDED, qemuOutput } from "./supervise-vm.ts";
import type { VmRuns } from "./vm-runs.ts";

/** Enough to hide the disk's and Redis's delays; more would only queue. */
const AT_ONCE = 32;
const GIVE_BACK_MS = 1_000;

export interface RecoverDeps extends RunVmDeps {
  readonly host: Pick<HostState, "hostId" | "stateId" | "bootId" | "newToken" | "tokenPrefix">;
  readonly runs: VmRuns;
}

/**
 * What the worker before this one left on this host: live VMs are taken over, ends that were decided are finished as
 * decided, launches that had not come to run are undone without using an attempt. Returns when all is decided; what is
 * to be done about it goes on in `runs`.
 */
export async function recoverLeftovers(deps: RecoverDeps): Promise<void> {
  const left = [...(await deps.files.list())];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) await recoverDirectory(deps, next);
    }),
  );
}

/**
 * Jobs that are ours in Redis and of which this host knows nothing: their worker died before its intent was on disk,
 * the reply to a fetch was lost, or the record was damaged. Each gets a record, and is then treated like any leftover.
 */
export async function recoverUnknownJobs(deps: RecoverDeps): Promise<void> {
  const { claims, host, runs, files, machine, store, mutex, clock, logger } = deps;
  const unknown = await mutex.run(() => claims.unknown(host.tokenPrefix, (job) => runs.has(job)));
  for (const job of unknown) {
    const { vmId, epoch } = job;
    if (runs.hasVm(vmId)) continue; // an older job of a VM that is in our hands under another token: agreeing mends it
    logger.warn({ vmId, epoch }, "a job is ours in Redis and nobody here knows of it");
    try {
      const paths = files.paths(job);
      await files.makeDirectory(paths);
      const known = await readRecord(deps, job, paths);
      if (known === "left alone") continue;
      const living = machine.livingOf(vmId)[0];
      const record = known ?? rebuilt(host, job, await store.get(vmId), living, clock.nowMs());
      await files.writeRecord(paths, record);
      await recoverOne(deps, record, paths);
    } catch (error) {
      logger.error({ vmId, epoch, err: error }, "an unknown job could not be taken back; it is tried again");
    }
  }
}

/** One directory of a launch that is in nobody's hands. Never rejects: it comes again with the next reconcile. */
export async function recoverDirectory(deps: RecoverDeps, at: { vmId: string; epoch: number }): Promise<void> {
  const { files, runs, machine, logger } = deps;
  if (runs.hasVm(at.vmId)) return;
  try {
    const paths = files.paths(at);
    const local = await readRecord(deps, at, paths);
    if (local === "left alone") return;
    if (local === undefined) {
      // Died between making the directory and writing the intent: nothing was launched.
      if (machine.livingOf(at.vmId).length === 0) await files.removeDirectory(paths);
      return;
    }
    await recoverOne(deps, local, paths);
  } catch (error) {
    logger.error({ ...at, err: error }, "a launch that was found on disk could not be taken back; it is tried again");
  }
}

async function recoverOne(deps: RecoverDeps, found: LocalRecord, paths: VmPaths): Promise<void> {
  const { store, files, ownership, claims, machine, runs, failPoints, logger } = deps;
  const { vmId, epoch } = found;
  const plan = await files.readPlan(paths);
  const known = await store.get(vmId);
  const process = livingProcess(deps, found);
  const local = await withNewToken(deps, found, paths);
  const launch = launchFromDisk(local, known, paths);
  const claim = await ownership.claim(launch.identity);
  await failPoints.reach("A1-claimed", launch.spec.name);
  if (claim.kind === "claimed" && !claim.prepared) {
    if (process !== undefined) await machine.end(process, 0); // a copy that the record never heard of
    await claims.giveBack(launch.identity, GIVE_BACK_MS);
    await files.removeDirectory(paths);
    logger.warn({ vmId, epoch }, "a job that was fetched and not launched went back to the queue");
    return;
  }
  if (plan !== undefined) return runs.finish(launch, plan, process);
  launch.state = howFar(local, claim);
  if (process === undefined) return runs.end(launch, await howItDied(deps, local, launch));
  if (claim.kind === "refused" || isFinal(claim.state)) {
    // Redis has lost it, or knows better. Only what it knows is a reason to stop a VM.
    const told = await ownership.reassert(toLive(launch));
    if (told.kind === "final" || told.kind === "superseded")
      return runs.end(launch, { kind: "stopped", reason: "superseded" });
    logger.error({ vmId, epoch, told }, "Redis had lost what it knew of a live VM; it was told again");
  }
  if (launch.state === "preparing" || launch.state === "starting")
    return runs.end(launch, failure("worker_crashed", "the worker died during this launch"));
  runs.adopt({ launch, process, mark: claim.kind === "claimed" ? claim.mark : undefined });
}

/** What Redis says of a live launch counts; where it says nothing, what stands on the disk. */
function howFar(local: LocalRecord, claim: ClaimOutcome): LiveState {
  const onDisk: LiveState = local.runningAtMs !== null && local.state === "starting" ? "running" : local.state;
  if (claim.kind === "refused") return onDisk;
  return isLive(claim.state) ? claim.state : onDisk;
}

function isLive(state: VmState): state is LiveState {
  return (["preparing", "starting", "running", "ready", "stopping"] as readonly VmState[]).includes(state);
}

async function howItDied(deps: RecoverDeps, local: LocalRecord, launch: Launch): Promise<LaunchEnd> {
  const { files, machine, host } = deps;
  if (local.stopReason !== null && launch.state === "stopping" && local.stopReason === "released")
    return { kind: "stopped", reason: "released" };
  if (local.bootId !== host.bootId) return failure("host_shutdown", "the machine was restarted");
  if (await files.wasGuarded(launch.paths)) return GUARDED;
  if (launch.state === "preparing" || launch.state === "starting")
    return failure("worker_crashed", "the worker died during this launch");
  return vanished(await qemuOutput(machine, launch.paths), (text) => text);
}

function failure(code: "worker_crashed" | "host_shutdown", message: string): LaunchEnd {
  return { kind: "failure", cause: { code, message } };
}

/** By pid, start time and boot; or, when the worker died before these were on disk, by the uuid on the command line. */
function livingProcess({ machine, host }: RecoverDeps, local: LocalRecord): ProcessIdentity | undefined {
  const { pid, startTimeTicks, bootId, vmId } = local;
  if (pid !== null && startTimeTicks !== null && bootId === host.bootId) {
    const recorded = { pid, startTimeTicks };
    if (machine.isAlive(recorded)) return recorded;
  }
  return machine.livingOf(vmId)[0];
}

/** The token that the claim will set is on disk before. A disk that takes nothing keeps the old one, which works too. */
async function withNewToken(deps: RecoverDeps, local: LocalRecord, paths: VmPaths): Promise<LocalRecord> {
  const renewed = { ...local, token: deps.host.newToken() };
  try {
    await deps.files.writeRecord(paths, renewed);
    return renewed;
  } catch (error) {
    deps.logger.warn(
      { vmId: local.vmId, err: error },
      "the state directory cannot be written; VMs are taken over anyway",
    );
    return local;
  }
}

/** A damaged record is made again from what Redis says, where the launch is ours there; else it is set aside. */
async function readRecord(
  { files, store, host, machine, clock, logger }: RecoverDeps,
  at: { vmId: string; epoch: number },
  paths: VmPaths,
): Promise<LocalRecord | undefined | "left alone"> {
  let problem: Error;
  try {
    const local = await files.readRecord(paths);
    if (local === undefined || (local.hostId === host.hostId && local.stateId === host.stateId)) return local;
    problem = new DamagedFile(`the record is of host ${local.hostId} and another state directory`);
  } catch (error) {
    if (error instanceof NewerRecord) {
      logger.error({ ...at, err: error }, "a launch of a newer version is left alone");
      return "left alone";
    }
    if (!(error instanceof DamagedFile)) throw error;
    problem = error;
  }
  const known = await store.get(at.vmId);
  const living = machine.livingOf(at.vmId)[0];
  if (known?.host === host.hostId && known.epoch === at.epoch && known.token?.startsWith(host.tokenPrefix) === true) {
    logger.error({ ...at, err: problem }, "a launch's record on disk is damaged; it was made again from Redis");
    const { owner, pool, spec, token } = known;
    const data = { ok: true, value: { v: 1, vmId: at.vmId, owner, pool, spec } } as const;
    return rebuilt(host, { ...at, pool, token, data }, known, living, clock.nowMs());
  }
  const place = await files.setAside(paths, at);
  logger.error({ ...at, place, living, err: problem }, "a launch's record on disk is damaged; it was set aside");
  return "left alone";
}

function rebuilt(
  host: RecoverDeps["host"],
  job: ClaimedJob,
  known: VmRecord | undefined,
  living: ProcessIdentity | undefined,
  nowMs: number,
): LocalRecord {
  const record = newLocalRecord(host, job, nowMs);
  const isThis = known?.epoch === job.epoch;
  return {
    ...record,
    pid: living?.pid ?? null,
    startTimeTicks: living?.startTimeTicks ?? null,
    attemptsMade: known?.attemptsMade ?? 0,
    port: (isThis ? known.port : undefined) ?? null,
    runningAtMs: (isThis ? known.runningAtMs : undefined) ?? null,
    state: isThis && isLive(known.state) ? known.state : "preparing",
  };
}
