import { CAUSES } from "../contract/causes.ts";
import type { FailureGroup } from "../contract/failure-view.ts";
import type { Forensics, ForensicsView, LaunchFile, LaunchFiles } from "../contract/forensics.ts";
import type { FailureGroupFacts } from "../queue/failure-store.ts";

/** Failures of one cause on one host, as every interface shows them. */
export function toFailureGroup(facts: FailureGroupFacts): FailureGroup {
  const { id, cause, host, failed, secretsGone, launchedAgain, firstAtMs, lastAtMs, example } = facts;
  const { fault, means, action } = CAUSES[cause];
  return {
    id,
    cause,
    host,
    fault,
    means,
    action,
    failed,
    retryable: Math.max(0, failed - secretsGone),
    launchedAgain,
    firstAt: time(firstAtMs),
    lastAt: time(lastAtMs),
    example: { vmId: example.vmId, message: example.message ?? null },
  };
}

/** A failed launch as every interface shows it. */
export function toForensicsView(launch: Forensics, found: LaunchFiles | undefined): ForensicsView {
  const { startedAtMs, endedAtMs, qmpEvents, ...rest } = launch;
  return {
    ...rest,
    startedAt: time(startedAtMs),
    endedAt: time(endedAtMs),
    qmpEvents: qmpEvents.map(({ name, data, atMs }) => ({ name, data, at: time(atMs) })),
    qemuVersion: found?.qemuVersion ?? null,
    files: found === undefined ? null : found.files.map(toFileView),
  };
}

function toFileView({ modifiedAtMs, ...file }: LaunchFile): NonNullable<ForensicsView["files"]>[number] {
  return { ...file, modifiedAt: modifiedAtMs === null ? null : time(modifiedAtMs) };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}
