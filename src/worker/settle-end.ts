import type { CauseCode } from "../contract/causes.ts";
import { LAUNCHES_KEPT } from "../contract/limits.ts";
import { askedPool } from "../contract/placement.ts";
import type { LaunchRecord } from "../contract/vm-record.ts";
import type { JobClaims } from "../queue/job-claims.ts";
import type { LaunchIdentity, Leave, Move, MoveOutcome, RecordFields } from "../queue/launch-moves.ts";
import type { LaunchStore } from "../queue/launch-store.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { EndPlan } from "./end-plan.ts";

export interface EndedLaunch {
  readonly identity: LaunchIdentity;
  readonly attempts: number;
  readonly port: number | undefined;
  readonly startedAtMs: number;
  readonly avoid: Readonly<Record<string, number>>;
  readonly earlierLaunches: readonly LaunchRecord[];
  /** Masked command line, shown with a failure. */
  readonly command: string | undefined;
}

/** Publishes how a launch ended: record and event in one script, with the port given back in it. */
export async function publishEnd(
  store: Pick<LaunchStore, "move">,
  keep: Config["keep"],
  launch: EndedLaunch,
  plan: EndPlan,
): Promise<MoveOutcome> {
  return store.move(launch.identity, {
    ...moveOf(launch, plan),
    fields: fieldsOf(launch, plan),
    leave: leaveOf(keep, plan),
  });
}

/** Settles the job as the record says. The job is settled after the record and before the local record is deleted. */
export async function settleJob(
  claims: Pick<JobClaims, "complete" | "fail" | "failForGood" | "giveBack">,
  launch: EndedLaunch,
  plan: EndPlan,
): Promise<void> {
  const { identity } = launch;
  const message = plan.cause === null ? plan.reason : `${plan.cause.code}: ${plan.cause.message}`;
  switch (plan.outcome) {
    case "completed":
    case "removed":
    case "expired":
      return claims.complete(identity, {
        outcome: plan.outcome,
        reason: plan.reason,
        exitCode: plan.exitCode,
        host: identity.host,
      });
    case "failed":
      return claims.failForGood(identity, { message, story: failureStory(launch, plan) });
    case "retrying":
      return claims.fail(identity, { message, story: failureStory(launch, plan), delayMs: plan.delayMs });
    case "requeued":
    case "released":
      return claims.giveBack(identity, plan.delayMs);
    case "superseded":
      return; // the job is somebody else's
  }
}

function moveOf({ identity, attempts }: EndedLaunch, plan: EndPlan): Move {
  const { host, epoch } = identity;
  const pool = askedPool(identity.pool);
  const cause = plan.cause ?? { code: "internal" as CauseCode, message: plan.reason };
  const progress = { reason: plan.reason, ...(plan.cause === null ? {} : { cause: plan.cause }) };
  switch (plan.outcome) {
    case "completed":
      return {
        to: "completed",
        event: { type: "vm.completed", data: { host, epoch, reason: plan.reason, exitCode: plan.exitCode } },
        progress,
      };
    case "removed":
      return { to: "removed", event: { type: "vm.removed", data: { reason: plan.reason } }, progress };
    case "expired":
      return {
        to: "expired",
        event: { type: "vm.expired", data: { reason: plan.reason === "queue_timeout" ? "queue_timeout" : "ttl" } },
        progress,
      };
    case "failed":
      return {
        to: "failed",
        event: { type: "vm.failed", data: { cause, attempt: plan.attemptsMade, host, epoch, exitCode: plan.exitCode } },
        progress,
      };
    case "retrying":
      return {
        to: "retrying",
        event: {
          type: "vm.retrying",
          data: { host, epoch, cause, attempt: plan.attemptsMade, attempts, delayMs: plan.delayMs },
        },
        progress,
      };
    case "requeued":
      return {
        to: "queued",
        event: { type: "vm.queued", data: { pool, reason: "requeued", cause, delayMs: plan.delayMs } },
        progress,
      };
    case "released":
      return {
        to: "queued",
        event: { type: "vm.queued", data: { pool, reason: "released", delayMs: plan.delayMs } },
        progress,
      };
    case "superseded":
      throw new Error("a launch that does not count any more has no end to publish");
  }
}

function fieldsOf(launch: EndedLaunch, plan: EndPlan): RecordFields {
  const { identity } = launch;
  const entry: LaunchRecord = {
    epoch: identity.epoch,
    host: identity.host,
    port: launch.port ?? null,
    startedAtMs: launch.startedAtMs,
    endedAtMs: plan.endedAtMs,
    cause: plan.cause,
  };
  const retryAtMs = plan.delayMs > 0 ? String(plan.endedAtMs + plan.delayMs) : null;
  const avoid = plan.avoidUntilMs === null ? launch.avoid : { ...launch.avoid, [identity.host]: plan.avoidUntilMs };
  return {
    launches: JSON.stringify([...launch.earlierLaunches, entry].slice(-LAUNCHES_KEPT)),
    attemptsMade: String(plan.attemptsMade),
    endReason: plan.reason,
    retryAtMs,
    cause: plan.cause === null ? null : JSON.stringify(plan.cause),
    result:
      plan.exitCode === null && plan.resultData === null
        ? null
        : JSON.stringify({ exitCode: plan.exitCode, data: plan.resultData }),
    avoid: Object.keys(avoid).length === 0 ? null : JSON.stringify(avoid),
    crashes: plan.crashes.length === 0 ? null : JSON.stringify(plan.crashes),
  };
}

function leaveOf(keep: Config["keep"], plan: EndPlan): Leave {
  const final = !["retrying", "requeued", "released"].includes(plan.outcome);
  return {
    box: !final ? "keep" : plan.outcome === "failed" ? keep.failedSecretsMs : "delete",
    tail: plan.tail,
    forensics: plan.forensics,
    final,
    keepMs: plan.outcome === "failed" ? keep.failedMs : keep.completedMs,
  };
}

/** What the dashboard shows in place of a stack trace. Holds no secret: command and tails are masked before. */
function failureStory({ identity, command }: EndedLaunch, plan: EndPlan): string {
  return [
    plan.cause === null ? plan.reason : `${plan.cause.code}: ${plan.cause.message}`,
    `host ${identity.host}, launch ${identity.epoch}`,
    ...(command === undefined ? [] : [`command: ${command}`]),
    "last lines of QEMU:",
    lastLines(plan.tail.qemu, 20),
    "last lines of the console:",
    lastLines(plan.tail.console, 20),
  ].join("\n");
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
