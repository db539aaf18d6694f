import { CAUSES } from "../contract/causes.ts";
import type { LaunchRecord, ResultRecord, VmRecord } from "../contract/vm-record.ts";
import { isFinal } from "../contract/vm-state.ts";
import type { VmView } from "../contract/vm-view.ts";

type LaunchView = VmView["launches"][number];

/** A VM as every interface shows it. The one place where a record becomes a view. */
export function toView(record: VmRecord): VmView {
  const { cause, removal, result } = record;
  return {
    id: record.vmId,
    state: record.state,
    owner: record.owner,
    pool: record.pool,
    priority: record.priority,
    spec: record.spec,
    hasSecrets: record.hasSecrets,
    epoch: record.epoch,
    attempts: { made: record.attemptsMade, max: record.attempts },
    host: record.host ?? null,
    address: addressOf(record),
    tee: record.tee ?? null,
    accel: record.accel ?? null,
    createdAt: time(record.createdAtMs),
    stateSince: time(record.stateAtMs),
    runningAt: timeOrNull(record.runningAtMs),
    readyAt: timeOrNull(record.readyAtMs),
    endedAt: timeOrNull(record.endedAtMs),
    retryAt: timeOrNull(record.retryAtMs),
    expiresAt: timeOrNull(record.deadlineAtMs),
    removal: removal === undefined ? null : { reason: removal.reason, by: removal.by, at: time(removal.atMs) },
    endReason: record.endReason ?? null,
    cause:
      cause === undefined ? null : { ...cause, fault: CAUSES[cause.code].fault, action: CAUSES[cause.code].action },
    result: result === undefined ? null : toResult(result),
    command: record.command ?? null,
    launches: (record.launches ?? []).map(toLaunch),
  };
}

/** What a client connects to: only while a host has the VM and says where. */
function addressOf({ state, address, port }: VmRecord): VmView["address"] {
  return address === undefined || port === undefined || isFinal(state) ? null : { host: address, port };
}

function toLaunch({ epoch, host, port, startedAtMs, endedAtMs, cause }: LaunchRecord): LaunchView {
  return {
    epoch,
    host,
    port,
    startedAt: time(startedAtMs),
    endedAt: endedAtMs === null ? null : time(endedAtMs),
    cause,
  };
}

function toResult({ exitCode, data }: ResultRecord): NonNullable<VmView["result"]> {
  return { exitCode, data, text: data === null ? null : textOf(Buffer.from(data, "base64")) };
}

/** The bytes as text, or null where they are none. */
function textOf(bytes: Buffer): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined ? null : time(ms);
}
