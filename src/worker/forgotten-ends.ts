import type { Logger } from "pino";
import { CAUSE_CODES, type CauseCode } from "../contract/causes.ts";
import type { VmRecord } from "../contract/vm-record.ts";
import type { VmState } from "../contract/vm-state.ts";
import type { RemovalMark } from "../queue/launch-moves.ts";
import type { SettledJob } from "../queue/settled-job.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Config } from "../runtime/config-shape.ts";
import type { EndPlan } from "./end-plan.ts";
import type { HostState } from "./host-state.ts";
import type { LaunchFiles } from "./launch-files.ts";
import type { Machine } from "./machine.ts";
import type { Mutex } from "./mutex.ts";
import { publishEnd } from "./settle-end.ts";
import type { Stores } from "./stores.ts";
import type { VmRuns } from "./vm-runs.ts";

/** States in which a host holds something for the VM. */
const HELD_STATES: readonly VmState[] = ["preparing", "starting", "running", "ready", "stopping"];
const PAGE_RECORDS = 500;

export interface ForgottenEndsDeps extends Pick<Stores, "claims" | "launches" | "store"> {
  readonly config: Pick<Config, "keep">;
  readonly host: Pick<HostState, "hostId" | "tokenPrefix">;
  readonly runs: Pick<VmRuns, "hasVm">;
  readonly files: Pick<LaunchFiles, "list">;
  readonly machine: Pick<Machine, "livingOf">;
  readonly mutex: Mutex;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Ends that Redis acknowledged and lost (a failover): the record stands where this host has nothing left, no process,
 * no directory, no job that is active. What is left of the end is how the job was settled; the record is told so again.
 */
export async function tellForgottenEnds(deps: ForgottenEndsDeps): Promise<void> {
  const { store, host, mutex } = deps;
  const ofHost = { states: HELD_STATES, host: host.hostId, limit: PAGE_RECORDS };
  for (let cursor: string | null | undefined; cursor !== null; ) {
    const page = await store.list({ ...ofHost, ...(cursor === undefined ? {} : { cursor }) });
    for (const { vmId } of page.records) await mutex.run(() => tellForgottenEnd(deps, vmId));
    cursor = page.next;
  }
}

async function tellForgottenEnd(deps: ForgottenEndsDeps, vmId: string): Promise<void> {
  const { store, claims, launches, runs, files, machine, host, config, clock, logger } = deps;
  if (runs.hasVm(vmId) || machine.livingOf(vmId).length > 0) return;
  if ((await files.list()).some((at) => at.vmId === vmId)) return;
  const record = await store.get(vmId); // again: it may have ended since the page was read
  if (record?.token === undefined || !HELD_STATES.includes(record.state)) return;
  if (record.host !== host.hostId || !record.token.startsWith(host.tokenPrefix)) return;
  const job = await claims.settledAs(record.pool, vmId);
  if (job.state === "active") return; // one that nobody here knows of: `recoverUnknownJobs`
  const mark = (await launches.marked([vmId])).get(vmId);
  const plan = planOf(record, job, mark, clock.nowMs());
  const outcome = await publishEnd(launches, config.keep, launchOf(record, record.host, record.token), plan);
  logger.error({ vmId, jobState: job.state, told: plan.outcome, outcome }, "Redis had lost how a VM ended");
}

function launchOf(record: VmRecord, host: string, token: string) {
  const { vmId, pool, priority, epoch } = record;
  return {
    identity: { vmId, pool, priority, host, epoch, token },
    attempts: record.attempts,
    port: record.port,
    startedAtMs: record.runningAtMs ?? record.stateAtMs,
    avoid: record.avoid ?? {},
    earlierLaunches: record.launches ?? [],
    command: record.command,
  };
}

function planOf(record: VmRecord, job: SettledJob, mark: RemovalMark | undefined, nowMs: number): EndPlan {
  const base = {
    v: 1,
    cause: null,
    exitCode: null,
    resultData: null,
    delayMs: 0,
    attemptsMade: Math.max(record.attemptsMade, job.attemptsMade),
    avoidUntilMs: null,
    endedAtMs: nowMs,
    crashes: record.crashes ?? [],
    tail: { console: "", qemu: "" },
  } as const;
  if (job.state === "completed") return { ...base, outcome: job.outcome, reason: job.reason, exitCode: job.exitCode };
  if (mark !== undefined) {
    return { ...base, outcome: mark.reason === "requested" ? "removed" : "expired", reason: mark.reason };
  }
  const told = job.state === "failed" ? job.message : "Redis lost how this launch ended";
  const cause = { code: causeIn(told), message: told.replace(/^[a-z_]+: /, "") };
  const outcome = job.state === "waiting" ? "requeued" : "failed";
  return { ...base, outcome, reason: cause.code, cause };
}

/** `settleJob` writes a failure as `code: message`. */
function causeIn(text: string): CauseCode {
  return CAUSE_CODES.find((code) => text.startsWith(`${code}: `)) ?? "host_lost";
}
