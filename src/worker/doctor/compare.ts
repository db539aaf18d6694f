import { isFinal, WAITING_STATES } from "../../contract/vm-state.ts";
import { type ActiveJob, type KnownVm, stateIdOf } from "../../queue/fleet-facts.ts";
import type { LeaseHolder } from "../../queue/host-registry.ts";
import type { HeldPort } from "../../queue/port-slots.ts";
import type { Check, Fix } from "./check.ts";

/** A launch that has a directory here. */
export interface LocalLaunch {
  readonly vmId: string;
  readonly epoch: number;
  readonly record: "good" | "none" | "damaged" | "newer";
  /** As its record has it. */
  readonly port: number | null;
}

interface LocalProcess {
  readonly vmId: string;
  readonly epoch: number;
  readonly pid: number;
  readonly startTimeTicks: number;
}

/** Everything that is compared, as it was seen at one time. */
export interface ComparisonFacts {
  readonly host: { readonly hostId: string; readonly stateId: string; readonly bootId: string };
  /** Whether a worker holds the state directory's lock. */
  readonly workerLives: boolean;
  readonly launches: readonly LocalLaunch[];
  readonly processes: readonly LocalProcess[];
  readonly quarantined: readonly string[];
  readonly guard: { readonly wanted: boolean; readonly lives: boolean };
  /** What Redis knows; undefined when it cannot be reached. */
  readonly queue:
    | {
        /** Of every VM that is named here or that a record gives to this host. */
        readonly vms: ReadonlyMap<string, KnownVm>;
        readonly activeJobs: readonly ActiveJob[];
        readonly ports: readonly HeldPort[];
        readonly lease: LeaseHolder | undefined;
      }
    | undefined;
}

const START_WORKER = "Start the worker: it settles this first.";
const SOON = "The worker settles it within DROVER_RECONCILE_INTERVAL; run this again.";

/**
 * The comparison of the reconcile (disk, process table, records, jobs, ports), in both directions, without acting. Pure.
 * A fix is offered only on positive evidence: the VM has ended, or is owned in a higher epoch. What Redis has merely
 * forgotten, the worker tells it again.
 */
export function compare(facts: ComparisonFacts): readonly Check[] {
  const found = [
    ...facts.processes.flatMap((process) => processChecks(process, facts)),
    ...facts.launches.flatMap((launch) => launchChecks(launch, facts)),
    ...jobChecks(facts),
    ...recordChecks(facts),
    ...portChecks(facts),
    ...damagedRecords(facts),
    ...leaseChecks(facts),
    ...guardChecks(facts),
    ...quarantineChecks(facts),
  ];
  if (found.some(({ status }) => status !== "ok")) return found;
  const count = facts.processes.length;
  const text =
    count === 0 ? "no VM here, and nothing is left of any" : `${count === 1 ? "1 VM" : `${count} VMs`}, and all agree`;
  return [{ id: "vms_agree", area: "vms", status: "ok", text }, ...found];
}

/** Why a launch here must not go on; undefined when nothing proves that. */
function evidenceAgainst(
  { vmId, epoch }: { vmId: string; epoch: number },
  { queue }: ComparisonFacts,
): string | undefined {
  const known = queue?.vms.get(vmId);
  if (known === undefined || known.record === "damaged") return undefined;
  const { record, mark } = known;
  if (record === undefined) return mark === "purged" ? "ended long ago" : undefined;
  if (record.epoch > epoch)
    return `is at launch ${record.epoch} already${record.host === null ? "" : `, on ${record.host}`}`;
  return isFinal(record.state) && record.epoch === epoch ? `is ${record.state}` : undefined;
}

function processChecks(process: LocalProcess, facts: ComparisonFacts): readonly Check[] {
  const { vmId, epoch, pid, startTimeTicks } = process;
  const { queue, launches, workerLives } = facts;
  const qemu = `QEMU ${pid} of VM ${vmId}, launch ${epoch},`;
  const checks: Check[] = [];
  const evidence = evidenceAgainst(process, facts);
  const fix: Fix = { kind: "end_process", vmId, epoch, pid, startTimeTicks };
  const known = queue?.vms.get(vmId);
  if (evidence !== undefined) {
    checks.push(
      problem("process_outlived", `${qemu} still runs, but the VM ${evidence}`, workerLives ? SOON : START_WORKER, fix),
    );
  } else if (known?.mark === "removal" && !workerLives) {
    const todo = `${START_WORKER} Or let --fix end it now; the worker's next start finishes the removal.`;
    checks.push(problem("removal_pending", `${qemu} runs, the VM is to be removed, and no worker does it`, todo, fix));
  } else if (queue !== undefined && known?.record === undefined) {
    checks.push(
      problem("process_unknown", `${qemu} runs, and Redis knows nothing of the VM`, workerLives ? SOON : START_WORKER),
    );
  } else if (known?.record !== undefined && known.record !== "damaged" && isWaiting(known.record.state)) {
    const text = `${qemu} runs, and Redis has the VM as ${known.record.state}: another host may launch it`;
    checks.push(problem("process_requeued", text, workerLives ? SOON : START_WORKER));
  }
  if (!launches.some((launch) => launch.vmId === vmId && launch.epoch === epoch)) {
    const todo =
      "Its sockets and files are gone, so that no worker can take it over: remove the VM, or end the process.";
    checks.push(problem("process_without_directory", `${qemu} runs and has no directory`, todo));
  }
  return checks;
}

function launchChecks(launch: LocalLaunch, facts: ComparisonFacts): readonly Check[] {
  const { vmId, epoch, record } = launch;
  const { processes, workerLives, queue } = facts;
  const name = `launch ${epoch} of VM ${vmId}`;
  if (record === "damaged") {
    const todo = workerLives ? SOON : "The worker's next start sets it aside in quarantine/ and gives the VM back.";
    return [problem("launch_damaged", `the record on disk of ${name} is damaged`, todo)];
  }
  if (record === "newer") {
    return [
      problem("launch_newer", `the record on disk of ${name} is of a newer drover`, "Run that version's worker here."),
    ];
  }
  if (workerLives || processes.some((process) => process.vmId === vmId && process.epoch === epoch)) return [];
  const evidence = evidenceAgainst(launch, facts);
  const isSettled = evidence !== undefined && queue?.activeJobs.some((job) => job.vmId === vmId) === false;
  if (!isSettled && record !== "none") {
    return [warning("launch_unfinished", `${name} has files here, no QEMU, and no worker to finish it`, START_WORKER)];
  }
  const why = evidence === undefined ? "nothing was launched from them" : `the VM ${evidence}`;
  const fix: Fix = { kind: "remove_directory", vmId, epoch };
  return [problem("files_left", `files of ${name} are left, and ${why}`, START_WORKER, fix)];
}

function jobChecks({ queue, launches, workerLives }: ComparisonFacts): readonly Check[] {
  const lost = (queue?.activeJobs ?? []).filter(({ vmId }) => !launches.some((launch) => launch.vmId === vmId));
  return lost.map(({ vmId }) => {
    const text = `the job of VM ${vmId} is active under this host's name, and nothing of it is here`;
    return workerLives ? warning("job_unknown", text, SOON) : problem("job_unknown", text, START_WORKER);
  });
}

function recordChecks({ queue, launches, processes, host, workerLives }: ComparisonFacts): readonly Check[] {
  const elsewhere = [...launches, ...processes, ...(queue?.activeJobs ?? [])].map(({ vmId }) => vmId);
  return [...(queue?.vms ?? [])].flatMap(([vmId, { record }]) => {
    if (record === undefined || record === "damaged" || isFinal(record.state) || isWaiting(record.state)) return [];
    if (stateIdOf(record.token ?? "") !== host.stateId || elsewhere.includes(vmId)) return [];
    const text = `Redis has VM ${vmId} as ${record.state} on this host, without a job, and nothing of it is here`;
    const todo = workerLives ? `${SOON} If it stays, remove the VM.` : START_WORKER;
    return [problem("record_without_launch", text, todo)];
  });
}

function portChecks({ queue, launches, processes, host }: ComparisonFacts): readonly Check[] {
  const isHere = ({ vmId, epoch }: HeldPort) =>
    [...launches, ...processes].some((launch) => launch.vmId === vmId && launch.epoch === epoch);
  const ours = (queue?.ports ?? []).filter(({ token }) => stateIdOf(token) === host.stateId); // others run beside us
  return ours
    .filter((held) => !isHere(held))
    .map(({ port, vmId, epoch, token }) => {
      const text = `port ${port} is held for launch ${epoch} of VM ${vmId}, which is not here`;
      const fix: Fix = { kind: "give_port", port, vmId, epoch, token };
      return problem("port_unused", text, "Nobody else can take it until the machine restarts.", fix);
    });
}

function damagedRecords({ queue }: ComparisonFacts): readonly Check[] {
  const damaged = [...(queue?.vms ?? [])].filter(([, { record }]) => record === "damaged");
  return damaged.map(([vmId]) =>
    problem(
      "record_damaged",
      `the record in Redis of VM ${vmId} cannot be understood`,
      "Remove the VM, or put its record right by hand.",
    ),
  );
}

function leaseChecks({ queue, host, workerLives }: ComparisonFacts): readonly Check[] {
  if (queue === undefined) return [];
  const { lease } = queue;
  if (lease !== undefined && lease.stateId !== host.stateId) {
    const text = `host id ${host.hostId} is in use by another machine or state directory`;
    return [
      problem("lease_of_another", text, "Give one of the two another MANAGER_INSTANCE_ID (and state directory)."),
    ];
  }
  if (workerLives && lease === undefined) {
    const text = "a worker runs here, and Redis has no sign of life of it";
    return [problem("lease_missing", text, "Look into its log: it cannot reach Redis, or hangs.")];
  }
  const text = workerLives ? `worker of host ${host.hostId} is alive` : `no worker of host ${host.hostId} runs`;
  return [{ id: "worker", area: "vms", status: "ok", text }];
}

function guardChecks({ guard, workerLives, processes }: ComparisonFacts): readonly Check[] {
  if (!guard.wanted || guard.lives || (!workerLives && processes.length === 0)) return [];
  const todo = workerLives
    ? "The worker starts another at its next sign of life; look into guard/guard.out if it does not."
    : START_WORKER;
  const text = "no guard watches: were the worker to die, its VMs could run twice";
  return [problem("guard_dead", text, todo)];
}

function quarantineChecks({ quarantined }: ComparisonFacts): readonly Check[] {
  if (quarantined.length === 0) return [];
  const shown = quarantined.slice(0, 3).join(", ");
  const text = `quarantine/ holds ${quarantined.length} damaged launches: ${shown}${quarantined.length > 3 ? ", ..." : ""}`;
  return [warning("quarantine", text, "Look what happened to them, then delete them.")];
}

function isWaiting(state: string): boolean {
  return (WAITING_STATES as readonly string[]).includes(state);
}

function problem(id: string, text: string, todo: string, fix?: Fix): Check {
  return { id, area: "vms", status: "problem", text, todo, ...(fix && { fix }) };
}

function warning(id: string, text: string, todo: string): Check {
  return { id, area: "vms", status: "warning", text, todo };
}
