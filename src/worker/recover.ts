import type { VmRecord } from "../contract/vm-record.ts";
import { isFinal, type VmState } from "../contract/vm-state.ts";
import { DamagedFile } from "../qemu/durable-file.ts";
import type { VmPaths } from "../qemu/vm-paths.ts";
import type { ClaimedJob } from "../queue/job-claims.ts";
import type { ClaimOutcome, LiveState } from "../queue/ownership.ts";
import type { ProcessIdentity } from "../runtime/process-identity.ts";
import { vanished } from "./adopt-vm.ts";
import type { LaunchEnd } from "./end-plan.ts";
import { giveBack } from "./give-back.ts";
import type { HostState } from "./host-state.ts";
import { type Launch, launchFromDisk, toLive } from "./launch.ts";
import { type LocalRecord, NewerRecord, newLocalRecord } from "./local-record.ts";
import type { RunVmDeps } from "./run-vm.ts";
import { GUARDED, qemuOutput, stopEnd } from "./supervise-vm.ts";
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
  const left = new Map<string, { vmId: string; epoch: number }[]>();
  for (const at of await deps.files.list()) left.set(at.vmId, [...(left.get(at.vmId) ?? []), at]);
  const vms = [...left.values()];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let launches = vms.pop(); launches !== undefined; launches = vms.pop()) {
        // One launch of a VM at a time, the oldest first: it is soon gone, and the next round has the other.
        for (const at of launches.sort((a, b) => a.epoch - b.epoch)) await recoverDirectory(deps, at);
      }
    }),
  );
}

/**
 * Jobs that are ours in Redis and of which this host knows nothing: their worker died before its intent was on disk,
 * the reply to a fetch was lost, or the record was damaged. Each gets a record, and is then treated like any leftover.
 */
export async function recoverUnknownJobs(deps: RecoverDeps): Promise<void> {
  const { claims, host, runs, mutex } = deps;
  const unknown = await mutex.run(() => claims.unknown(host.tokenPrefix, (job) => runs.has(job)));
  // Each under the mutex: the answer to its fetch may come late, and the fetch loop take the job in this very moment.
  for (const job of unknown) await mutex.run(() => recoverUnknownJob(deps, job));
}

async function recoverUnknownJob(deps: RecoverDeps, job: ClaimedJob): Promise<void> {
  const { host, runs, files, store, clock, logger } = deps;
  const { vmId, epoch } = job;
  if (runs.hasVm(vmId)) return; // an older job of a VM that is in our hands under another token: agreeing mends it
  logger.warn({ vmId, epoch }, "a job is ours in Redis and nobody here knows of it");
  try {
    const paths = files.paths(job);
    await files.makeDirectory(paths);
    const known = await readRecord(deps, job, paths);
    if (known === "left alone") return;
    const record = known ?? rebuilt(host, job, await store.get(vmId), livingLaunch(deps, job), clock.nowMs());
    await files.writeRecord(paths, record);
    await recoverOne(deps, record, paths);
  } catch (error) {
    logger.error({ vmId, epoch, err: error }, "an unknown job could not be taken back; it is tried again");
  }
}

/** One directory of a launch that is in nobody's hands. Never rejects: it comes again with the next reconcile. */
export async function recoverDirectory(deps: RecoverDeps, at: { vmId: string; epoch: number }): Promise<void> {
  const { files, runs, logger } = deps;
  if (runs.hasVm(at.vmId)) return;
  try {
    const paths = files.paths(at);
    const local = await readRecord(deps, at, paths);
    if (local === "left alone") return;
    if (local === undefined) {
      // Died between making the directory and writing the intent: nothing was launched.
      if (livingLaunch(deps, at) === undefined) await files.removeDirectory(paths);
      return;
    }
    await recoverOne(deps, local, paths);
  } catch (error) {
    logger.error({ ...at, err: error }, "a launch that was found on disk could not be taken back; it is tried again");
  }
}

async function recoverOne(deps: RecoverDeps, found: LocalRecord, paths: VmPaths): Promise<void> {
  const { store, files, ownership, machine, runs, failPoints, logger } = deps;
  const { vmId, epoch } = found;
  const plan = await files.readPlan(paths);
  const known = await store.get(vmId);
  const process = livingProcess(deps, found);
  const local = await withNewToken(deps, found, paths);
  const launch = launchFromDisk(local, known, paths);
  const claim = await ownership.claim(launch.identity);
  await failPoints.reach("A1-claimed", launch.spec.name);
  // Decided is decided, also where Redis has lost the launch: the guest's result stands on this disk alone.
  if (plan !== undefined) return runs.finish(launch, plan, process);
  launch.state = howFar(local, claim);
  const isLost = claim.kind === "refused" || !claim.prepared || isFinal(claim.state);
  if (claim.kind === "claimed" && !claim.prepared && (process === undefined || isLaunching(launch.state))) {
    if (process !== undefined) await machine.end(process, 0); // a copy that the record never heard of
    await giveBack(deps, launch.identity, GIVE_BACK_MS);
    await files.removeDirectory(paths);
    logger.warn({ vmId, epoch }, "a job that was fetched and not launched went back to the queue");
    return;
  }
  if (process === undefined) return runs.end(launch, await howItDied(deps, local, launch));
  if (isLost) {
    // Redis has lost it, or knows better. Only what it knows is a reason to stop a VM.
    const told = await ownership.reassert(toLive(launch));
    if (told.kind === "final" || told.kind === "superseded")
      return runs.end(launch, { kind: "stopped", reason: "superseded" });
    logger.error({ vmId, epoch, told }, "Redis had lost what it knew of a live VM; it was told again");
  }
  if (isLaunching(launch.state))
    return runs.end(launch, failure("worker_crashed", "the worker died during this launch"));
  runs.adopt({ launch, process, mark: claim.kind === "claimed" ? claim.mark : undefined });
}

/** The further of two: the disk may not have got the last move yet, and Redis may have lost it. */
function howFar(local: LocalRecord, claim: ClaimOutcome): LiveState {
  const onDisk: LiveState = local.runningAtMs !== null && local.state === "starting" ? "running" : local.state;
  if (claim.kind === "refused" || !isLive(claim.state)) return onDisk;
  return LIVE_STATES.indexOf(claim.state) > LIVE_STATES.indexOf(onDisk) ? claim.state : onDisk;
}

/** In the order in which a launch goes through them. */
const LIVE_STATES = ["preparing", "starting", "running", "ready", "stopping"] as const satisfies readonly LiveState[];

function isLive(state: VmState): state is LiveState {
  return (LIVE_STATES as readonly VmState[]).includes(state);
}

function isLaunching(state: LiveState): boolean {
  return state === "preparing" || state === "starting";
}

async function howItDied(deps: RecoverDeps, local: LocalRecord, launch: Launch): Promise<LaunchEnd> {
  const { files, machine, host } = deps;
  // The stop that was under way has done its work, whether or not Redis heard of it.
  if (local.stopReason !== null) return stopEnd(launch, local.stopReason);
  if (launch.state === "stopping") return { kind: "stopped", reason: "released" }; // it did not reach the disk
  if (local.bootId !== host.bootId) return failure("host_shutdown", "the machine was restarted");
  if (await files.wasGuarded(launch.paths)) return GUARDED;
  if (isLaunching(launch.state)) return failure("worker_crashed", "the worker died during this launch");
  return vanished(await qemuOutput(machine, launch.paths), (text) => text);
}

function failure(code: "worker_crashed" | "host_shutdown", message: string): LaunchEnd {
  return { kind: "failure", cause: { code, message } };
}

/** By pid, start time and boot; or, when the worker died before these were on disk, by the uuid on the command line. */
function livingProcess(deps: RecoverDeps, local: LocalRecord): ProcessIdentity | undefined {
  const { machine, host } = deps;
  const { pid, startTimeTicks, bootId } = local;
  if (pid !== null && startTimeTicks !== null && bootId === host.bootId) {
    const recorded = { pid, startTimeTicks };
    if (machine.isAlive(recorded)) return recorded;
  }
  return livingLaunch(deps, local);
}

/** By the process table alone. A later launch of the same VM is another matter. */
function livingLaunch({ machine }: RecoverDeps, { vmId, epoch }: { vmId: string; epoch: number }) {
  return machine.livingOf(vmId).find((living) => living.epoch === epoch);
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
  deps: RecoverDeps,
  at: { vmId: string; epoch: number },
  paths: VmPaths,
): Promise<LocalRecord | undefined | "left alone"> {
  const { files, store, host, clock, logger } = deps;
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
  const living = livingLaunch(deps, at);
  if (known?.host === host.hostId && known.epoch === at.epoch && known.token?.startsWith(host.tokenPrefix) === true) {
    logger.error({ ...at, err: problem }, "a launch's record on disk is damaged; it was made again from Redis");
    const { owner, pool, spec, token } = known;
    const data = { ok: true, value: { v: 1, vmId: at.vmId, owner, pool, spec } } as const;
    return rebuilt(host, { ...at, pool, token, data }, known, living, clock.nowMs());
  }
  if (living !== undefined) {
    logger.error(
      { ...at, living, err: problem },
      "a live VM's record is damaged, and Redis does not know it: left alone",
    );
    return "left alone";
  }
  const place = await files.setAside(paths, at);
  logger.error({ ...at, place, err: problem }, "a launch's record on disk is damaged; it was set aside");
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
