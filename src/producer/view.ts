import { CAUSES } from "../contract/causes.ts";
import { askedPool } from "../contract/placement.ts";
import type { LaunchRecord, ResultRecord, VmRecord } from "../contract/vm-record.ts";
import { isFinal, LAUNCH_STATES, type VmState } from "../contract/vm-state.ts";
import type { HostReach, VmView } from "../contract/vm-view.ts";

type LaunchView = VmView["launches"][number];

/** Whose the host ids are now: the state directory that holds each lease. Undefined: nobody could be asked. */
export type LiveOwners = ReadonlyMap<string, { readonly stateId: string }> | undefined;

/** States in which a host has the VM. */
const HELD_STATES: readonly VmState[] = [...LAUNCH_STATES, "stopping"];

/**
 * A VM as every interface shows it: what its record says, in the light of the leases of the hosts; and why it waits,
 * where somebody has looked. The one place where
 * a record becomes a view; that a host is unreachable is never stored.
 */
export function toView(record: VmRecord, owners: LiveOwners, waiting?: VmView["waiting"]): VmView {
  const { cause, removal, result, dismissed } = record;
  const hostStatus = reachOf(record, owners);
  return {
    id: record.vmId,
    // Nobody can stop it now, and it never runs elsewhere: it stays at its end until that is proved.
    state: hostStatus === "unreachable" && removal !== undefined ? "stopping" : record.state,
    owner: record.owner,
    pool: askedPool(record.pool),
    batch: record.batch ?? null,
    priority: record.priority,
    spec: record.spec,
    hasSecrets: record.hasSecrets,
    epoch: record.epoch,
    attempts: { made: record.attemptsMade, max: record.attempts },
    host: record.host ?? null,
    hostStatus,
    address: addressOf(record),
    tee: record.tee ?? null,
    accel: record.accel ?? null,
    gpu: record.gpu ?? null,
    hostData: hostDataOf(record),
    ...(waiting === undefined ? {} : { waiting }),
    createdAt: time(record.createdAtMs),
    stateSince: time(record.stateAtMs),
    runningAt: timeOrNull(record.runningAtMs),
    readyAt: timeOrNull(record.readyAtMs),
    endedAt: timeOrNull(record.endedAtMs),
    retryAt: timeOrNull(record.retryAtMs),
    expiresAt: timeOrNull(record.deadlineAtMs),
    removal: removal === undefined ? null : { reason: removal.reason, by: removal.by, at: time(removal.atMs) },
    endReason: record.endReason ?? null,
    unverified: record.unverified ?? false,
    cause:
      cause === undefined ? null : { ...cause, fault: CAUSES[cause.code].fault, action: CAUSES[cause.code].action },
    result: result === undefined ? null : toResult(result),
    command: record.command ?? null,
    launches: (record.launches ?? []).map(toLaunch),
    dismissed: dismissed === undefined ? null : { by: dismissed.by, at: time(dismissed.atMs) },
  };
}

/** The host that has the VM, if one has: it must be alive in the state directory that launched the VM. */
export function hostOf({ state, host }: VmRecord): string | undefined {
  return HELD_STATES.includes(state) ? host : undefined;
}

function reachOf(record: VmRecord, owners: LiveOwners): HostReach | null {
  const host = hostOf(record);
  if (host === undefined || owners === undefined) return null;
  const stateId = record.token?.split(":")[1];
  return owners.get(host)?.stateId === stateId ? "live" : "unreachable";
}

/** What a client connects to: only while a host has the VM and says where. */
function addressOf({ state, address, port }: VmRecord): VmView["address"] {
  return address === undefined || port === undefined || isFinal(state) ? null : { host: address, port };
}

/** Of a launch that has it; the next one of another host may have none. */
function hostDataOf({ attestation }: VmRecord): string | null {
  return attestation?.platform === "snp" ? (attestation.hostData ?? null) : null;
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

/** What a guest handed back, also as text where it is one. */
export function toResult({ exitCode, data }: ResultRecord): NonNullable<VmView["result"]> {
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
