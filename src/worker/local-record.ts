import { z } from "zod";
import { VmJobData } from "../contract/job-data.ts";
import type { ClaimedJob } from "../queue/job-claims.ts";
import type { HostState } from "./host-state.ts";

/**
 * What a host knows on disk of a launch, in `<state dir>/vms/<vmId>/<epoch>/record.json`. It is written before the
 * first side effect and deleted last of all, so that whoever starts after a crash can finish or undo the launch.
 */
export const LocalRecord = z.strictObject({
  v: z.literal(1),
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
});
export type LocalRecord = z.infer<typeof LocalRecord>;

/** The record of a job that was just fetched. Data that nobody can read becomes an empty request. */
export function newLocalRecord({ hostId, stateId, bootId }: HostState, job: ClaimedJob): LocalRecord {
  const { vmId, epoch, token, pool, data } = job;
  return {
    v: 1,
    vmId,
    epoch,
    token,
    hostId,
    stateId,
    bootId,
    job: data.ok ? data.value : { v: 1, vmId, owner: "", pool, spec: {} },
    createdAtMs: Date.now(),
    attemptsMade: 0,
    port: null,
    pid: null,
    startTimeTicks: null,
  };
}
