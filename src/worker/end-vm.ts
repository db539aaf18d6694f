import type { Logger } from "pino";
import { LaunchFailure } from "../contract/causes.ts";
import { lastGuestResult } from "../contract/result-frame.ts";
import { writeDurably } from "../qemu/durable-file.ts";
import { removeDiskAndVariables, removeGuestFiles, removeVmDirectory } from "../qemu/vm-directory.ts";
import type { VmOutputs } from "../qemu/vm-outputs.ts";
import type { HostRegistry } from "../queue/host-registry.ts";
import type { JobClaims } from "../queue/job-claims.ts";
import type { RemovalMark } from "../queue/launch-moves.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { VmStore } from "../queue/vm-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import { type EndPlan, type LaunchEnd, planEnd } from "./end-plan.ts";
import type { Launch } from "./launch.ts";
import type { Mutex } from "./mutex.ts";
import { type EndedLaunch, publishEnd, settleJob } from "./settle-end.ts";

export interface EndDeps {
  readonly config: Config;
  readonly launches: LaunchStore;
  readonly claims: JobClaims;
  readonly hosts: HostRegistry;
  readonly store: VmStore;
  readonly mutex: Mutex;
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
  await writeDurably(launch.paths.end, JSON.stringify(plan));
  return plan;
}

/**
 * Finishes an end whose plan is on disk and whose process is proved dead, in the order that a crash cannot spoil:
 * secrets, disk and variables, then port and final record in one script, then the job, and last of all the local record.
 */
export async function finishEnd(
  deps: EndDeps,
  launch: EndedLaunch & Pick<Launch, "paths">,
  plan: EndPlan,
): Promise<void> {
  const { config, launches, claims, mutex, logger } = deps;
  const { vmId } = launch.identity;
  await removeGuestFiles(launch.paths);
  await removeDiskAndVariables(launch.paths);
  let settled = plan;
  let outcome = await publishEnd(launches, config.keep, launch, plan);
  if (outcome === "marked") {
    // Removed in the very moment between plan and publication: no way leads back into the queue any more.
    const mark = (await launches.marked([vmId])).get(vmId);
    settled = {
      ...plan,
      outcome: mark?.reason === "requested" ? "removed" : "expired",
      reason: mark?.reason ?? "requested",
      delayMs: 0,
    };
    await writeDurably(launch.paths.end, JSON.stringify(settled));
    outcome = await publishEnd(launches, config.keep, launch, settled);
  }
  if (outcome !== "done")
    logger.warn({ vmId, epoch: launch.identity.epoch, outcome }, "the end of a launch found its record changed");
  await mutex.run(async () => {
    await settleJob(claims, launch, settled);
    await removeVmDirectory(launch.paths);
  });
  if (settled.delayMs > 0) await heedLateMark(deps, vmId);
  logger.info(
    { vmId, epoch: launch.identity.epoch, outcome: settled.outcome, reason: settled.reason, delayMs: settled.delayMs },
    "launch ended",
  );
}

async function planFor(deps: EndDeps, launch: Launch, end: LaunchEnd, outputs: VmOutputs): Promise<EndPlan> {
  const { config } = deps;
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
    backoffMs: config.launch.backoffMs,
    backoffMaxMs: config.launch.backoffMaxMs,
    nowMs: Date.now(),
    random: Math.random(),
  });
  return { v: 1, ...plan, tail: { console: outputs.console, qemu: outputs.qemu } };
}

async function markOf({ launches }: EndDeps, { identity }: Launch): Promise<RemovalMark | undefined> {
  return (await launches.marked([identity.vmId])).get(identity.vmId);
}

async function hasOtherHosts({ hosts }: EndDeps, { identity, avoid }: Launch): Promise<boolean> {
  const live = await hosts.liveHosts(identity.pool);
  return live.some(({ hostId }) => hostId !== identity.host && (avoid[hostId] ?? 0) <= Date.now());
}

/** A removal that came after the record had gone back into the queue and before its job had: nobody else looks at it. */
async function heedLateMark({ launches, store }: EndDeps, vmId: string): Promise<void> {
  const mark = (await launches.marked([vmId])).get(vmId);
  if (mark !== undefined) await store.requestRemoval({ vmId, reason: mark.reason, by: "drover" });
}

/** Whatever a launch may throw, as a cause. What nobody classified is drover's own failure. */
export function toLaunchEnd(error: unknown): LaunchEnd {
  if (error instanceof LaunchFailure) return { kind: "failure", cause: error.failure };
  const message = error instanceof Error ? error.message : String(error);
  return { kind: "failure", cause: { code: "internal", message } };
}
