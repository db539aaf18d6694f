import { z } from "zod";
import { VmJobData } from "../contract/job-data.ts";
import { DamagedFile } from "../qemu/durable-file.ts";
import type { ClaimedJob } from "../queue/job-claims.ts";
import type { LiveState } from "../queue/ownership.ts";
import type { HostState } from "./host-state.ts";

const VERSION = 2;

/** As version 1 of the file had it. */
const V1 = {
  vmId: z.uuid(),
  epoch: z.int().min(1),
  token: z.string(),
  hostId: z.string(),
  stateId: z.string(),
  bootId: z.string(),
  job: VmJobData,
  createdAtMs: z.int(),
  /** Known once PREPARE has given them. */
  attemptsMade: z.int(),
  port: z.int().nullable(),
  /** Identity of the QEMU process: pid alone may be somebody else's by now. */
  pid: z.int().nullable(),
  startTimeTicks: z.int().nullable(),
};

/**
 * What a host knows on disk of a launch, in `<state dir>/vms/<vmId>/<epoch>/record.json`. It is written before the
 * first side effect and deleted last of all, so that whoever starts after a crash can finish, undo or take over the
 * launch.
 */
export const LocalRecord = z.strictObject({
  v: z.literal(VERSION),
  ...V1,
  /** How far the launch is for sure; Redis may be a step ahead. */
  state: z.enum(["preparing", "starting", "running", "ready", "stopping"] as const satisfies readonly LiveState[]),
  /** The record as Redis held it at PREPARE, to tell it again to a Redis that has lost it. */
  snapshot: z.record(z.string(), z.string()).nullable(),
  address: z.string().nullable(),
  runningAtMs: z.int().nullable(),
  deadlineAtMs: z.int().nullable(),
  /** It has begun to boot, as the only one: noted for VMs in whose launches workers have died. */
  bootsAlone: z.boolean(),
  /** Why it is being stopped, where no removal mark says so. */
  stopReason: z.enum(["released", "boot_timeout"]).nullable(),
});
export type LocalRecord = z.infer<typeof LocalRecord>;

const LocalRecordV1 = z.strictObject({ v: z.literal(1), ...V1 });

/** Any version's record, for the version alone. */
export const StoredRecord = z.looseObject({ v: z.int().min(1) });

/** A record that a newer version of drover wrote: it is left alone. */
export class NewerRecord extends Error {
  override readonly name = "NewerRecord";
}

/** Reads a record of this or an earlier version. Throws DamagedFile and {@link NewerRecord}. */
export function parseLocalRecord(stored: z.infer<typeof StoredRecord>, path: string): LocalRecord {
  if (stored.v > VERSION)
    throw new NewerRecord(`${path} is of version ${stored.v}, this worker reads up to ${VERSION}: start a newer one`);
  const earlier = LocalRecordV1.safeParse(stored);
  if (earlier.success) {
    const { data } = earlier;
    // Version 1 was written when the process existed and never again: how far it got, Redis knows.
    const state = data.pid === null ? "preparing" : "starting";
    return { ...data, ...UNKNOWN, v: VERSION, state };
  }
  const current = LocalRecord.safeParse(stored);
  if (!current.success) throw new DamagedFile(`${path} is damaged`, { cause: current.error });
  return current.data;
}

const UNKNOWN = {
  snapshot: null,
  address: null,
  runningAtMs: null,
  deadlineAtMs: null,
  bootsAlone: false,
  stopReason: null,
} as const;

/** The record of a job that was just fetched. Data that nobody can read becomes an empty request. */
export function newLocalRecord(
  { hostId, stateId, bootId }: Pick<HostState, "hostId" | "stateId" | "bootId">,
  job: ClaimedJob,
  nowMs: number,
): LocalRecord {
  const { vmId, epoch, token, pool, data } = job;
  return {
    v: VERSION,
    vmId,
    epoch,
    token,
    hostId,
    stateId,
    bootId,
    job: data.ok ? data.value : { v: 1, vmId, owner: "", pool, spec: {} },
    createdAtMs: nowMs,
    attemptsMade: 0,
    port: null,
    pid: null,
    startTimeTicks: null,
    state: "preparing",
    ...UNKNOWN,
  };
}
