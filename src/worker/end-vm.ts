import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { lastGuestResult } from "../contract/result-frame.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import { isFinal, type VmState, WAITING_STATES } from "../contract/vm-state.ts";
import type { VmOutputs } from "../qemu/vm-outputs.ts";
import type { RemovalMark } from "../queue/launch-moves.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { Breaker } from "./breaker.ts";
import { type EndPlan, type LaunchEnd, planEnd } from "./end-plan.ts";
import type { FailPoints } from "./fail-points.ts";
import { forensicsOf } from "./forensics.ts";
import { heedLateMark } from "./give-back.ts";
import { type Launch, toLive } from "./launch.ts";
import type { LaunchEvidence } from "./launch-evidence.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { Mutex } from "./mutex.ts";
import { publishEnd, settleJob } from "./settle-end.ts";
import type { Stores } from "./stores.ts";

export interface EndDeps extends Stores {
  readonly config: Config;
  readonly files: LaunchFiles;
  readonly failPoints: FailPoints;
  readonly breaker: Breaker;
  /** Undefined: nothing is found out of the files of failed launches. */
  readonly evidence?: Pick<LaunchEvidence, "gather"> | undefined;
  readonly mutex: Mutex;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How a launch ended and its outputs become a plan, which is on disk before anything is undone. */
export async function writeEndPlan(
  deps: EndDeps,
  launch: Launch,
  end: LaunchEnd,
  outputs: VmOutputs,
): Promise<EndPlan> {
  const plan = await planFor(deps, launch, end, outputs);
  await deps.files.writePlan(launch.paths, plan);
  return plan;
}

/**
 * Finishes an end whose plan is on disk and whose process is proved dead, in the order that a crash cannot spoil:
 * secrets, disk and variables, then port and final record in one script, then the job, and last of all the local record.
 */
export async function finishEnd(deps: EndDeps, launch: Launch, plan: EndPlan): Promise<void> {
  const { claims, files, failPoints, mutex, logger } = deps;
  const { vmId, epoch } = launch.identity;
  const { name } = launch.spec;
  await files.removeSecrets(launch.paths);
  await files.removeDisk(launch.paths);
  await failPoints.reach("L12c-emptied", name);
  const published = plan.outcome === "superseded" ? "superseded" : await publish(deps, launch, plan);
  await failPoints.reach("L12d-published", name);
  if (published === "superseded") {
    await leaveNothing(deps, launch);
    return;
  }
  await mutex.run(async () => {
    await settleJob(claims, launch, published);
    await failPoints.reach("L12e-settled", name);
    await files.removeDirectory(launch.paths);
  });
  if (published.delayMs > 0) await heedLateMark(deps, vmId);
  deps.breaker.noteEnd(published);
  if (published.cause !== null) deps.evidence?.gather(launch);
  const { outcome, reason, delayMs } = published;
  logger.info({ vmId, epoch, outcome, reason, delayMs }, "launch ended");
}

/** Gives the plan that came into force, or "superseded" when the launch does not count any more. */
async function publish(deps: EndDeps, launch: Launch, plan: EndPlan): Promise<EndPlan | "superseded"> {
  const { config, launches, ownership, store, files, logger } = deps;
  const { vmId, epoch } = launch.identity;
  let settled = plan;
  launch.ended = true; // before it is sent: on one connection, nothing that tells it as live can follow
  for (let told = false; ; ) {
    const outcome = await publishEnd(launches, config.keep, launch, settled);
    if (outcome === "done") return settled;
    if (outcome === "marked") {
      // Removed in the very moment between plan and publication: no way leads back into the queue any more.
      const mark = (await launches.marked([vmId])).get(vmId);
      const reason = mark?.reason ?? "requested";
      settled = { ...plan, outcome: reason === "requested" ? "removed" : "expired", reason, delayMs: 0 };
      await files.writePlan(launch.paths, settled);
      continue;
    }
    const known = await store.get(vmId);
    const earlier = publishedEarlier(launch, settled, known);
    if (earlier !== undefined) return earlier;
    if (known !== undefined && wasTakenBack(launch, settled, known)) return "superseded";
    const claim = told ? undefined : await ownership.reassert({ ...toLive(launch), port: undefined });
    if (claim?.kind === "reasserted" || claim?.kind === "ours") {
      logger.warn({ vmId, epoch, outcome }, "Redis had lost a launch that has ended; it was told again");
      told = true;
      continue;
    }
    // Ended or launched anew elsewhere, or a record that no move fits: what counts stands in Redis.
    logger.warn({ vmId, epoch, outcome, claim }, "the end of a launch found that it does not count any more");
    return "superseded";
  }
}

/** A worker that died between publishing and settling has published already: what stands in the record is settled. */
function publishedEarlier({ identity }: Launch, plan: EndPlan, known: VmRecord | undefined): EndPlan | undefined {
  if (known?.host !== identity.host || known.epoch !== identity.epoch || known.token !== identity.token)
    return undefined;
  if (isFinal(known.state))
    return { ...plan, outcome: known.state, reason: known.endReason ?? plan.reason, delayMs: 0 };
  return isWaiting(known.state) && leadsBack(plan) ? plan : undefined;
}

/**
 * Somebody has put the VM back into the queue already: a reaper, or whoever retried a failed one by hand. Or a Redis that
 * was put back to an earlier time has had it launched elsewhere: that it failed here is no reason to end it there.
 */
function wasTakenBack({ identity }: Launch, plan: EndPlan, known: VmRecord): boolean {
  const isElsewhere = known.host !== undefined && known.host !== identity.host && !isFinal(known.state);
  if (isElsewhere) return leadsBack(plan) || plan.outcome === "failed";
  if (!isWaiting(known.state)) return false;
  return leadsBack(plan) || (plan.outcome === "failed" && known.epoch === identity.epoch);
}

function isWaiting(state: VmState): boolean {
  return (WAITING_STATES as readonly VmState[]).includes(state);
}

function leadsBack({ outcome }: EndPlan): boolean {
  return outcome === "requeued" || outcome === "released" || outcome === "retrying";
}

/** Nothing of a launch that does not count any more stays on this host; its VM's story tells of it. */
async function leaveNothing(deps: EndDeps, launch: Launch): Promise<void> {
  const { launches, ownership, store, claims, files, mutex, logger } = deps;
  const { identity, paths, port } = launch;
  const { vmId, host, epoch } = identity;
  if (port !== undefined) await launches.givePort(identity, port);
  const known = await store.get(vmId);
  const currentEpoch = known?.epoch ?? epoch;
  await mutex.run(async () => {
    // The job of a VM that is final is settled from the record where it is still ours; a newer launch's is not.
    if (known === undefined || isFinal(known.state))
      await claims.complete(identity, { outcome: known?.state ?? "purged", reason: known?.endReason ?? null });
    await files.removeDirectory(paths);
  });
  if (currentEpoch > epoch)
    await ownership.note({ vmId }, { type: "vm.copy_stopped", data: { host, epoch, currentEpoch } });
  logger.warn({ vmId, epoch, currentEpoch }, "a launch that does not count any more was taken off this host");
}

async function planFor(deps: EndDeps, launch: Launch, end: LaunchEnd, outputs: VmOutputs): Promise<EndPlan> {
  const { config, clock } = deps;
  // Redis is asked only where the answer may lead back into the queue.
  const mayGoBack = end.kind === "failure" || (end.kind === "stopped" && end.reason === "released");
  const [mark, otherHosts] = mayGoBack ? await Promise.all([markOf(deps, launch), hasOtherHosts(deps, launch)]) : [];
  const plan = planEnd({
    end,
    guestResult: launch.spec.result === true ? lastGuestResult(outputs.result) : undefined,
    marked: mark?.reason,
    attemptsMade: launch.attemptsMade,
    attempts: launch.attempts,
    retryComputation: launch.spec.retryComputation ?? false,
    otherHosts: otherHosts ?? false,
    crashes: launch.crashes,
    isSuspect: launch.crashes.length === 0 || launch.record.bootsAlone,
    backoffMs: config.launch.backoffMs,
    backoffMaxMs: config.launch.backoffMaxMs,
    nowMs: clock.nowMs(),
    random: Math.random(),
  });
  const { cause, endedAtMs } = plan;
  const tail = { console: outputs.console, qemu: outputs.qemu };
  return { v: 1, ...plan, tail, ...(cause && { forensics: forensicsOf(launch, { cause, end, endedAtMs }, outputs) }) };
}

async function markOf({ launches }: EndDeps, { identity }: Launch): Promise<RemovalMark | undefined> {
  return (await launches.marked([identity.vmId])).get(identity.vmId);
}

async function hasOtherHosts({ hosts, clock }: EndDeps, { identity, avoid }: Launch): Promise<boolean> {
  const live = await hosts.liveHosts(identity.pool);
  return live.some(({ hostId }) => hostId !== identity.host && (avoid[hostId] ?? 0) <= clock.nowMs());
}

/** Whatever a launch may throw, as a cause. What nobody classified is drover's own failure. */
export function toLaunchEnd(error: unknown): LaunchEnd {
  if (error instanceof LaunchFailure) return { kind: "failure", cause: error.failure, exit: error.exit };
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failure", cause: { code: "internal", message } };
}
