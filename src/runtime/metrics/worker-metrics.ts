import { CAUSE_CODES } from "../../contract/causes.ts";
import { every, everyPair, type MetricSpec, PLAIN } from "./metric-spec.ts";

/** What a worker says of its host and counts of its launches. */
export const WORKER_METRICS = {
  drover_worker_info: {
    type: "gauge",
    help: "Always 1; names the host of this worker.",
    labels: { host: "the host's id: one for each worker" },
  },
  drover_worker_turning: {
    type: "gauge",
    help: "1 while the loop goes round that fetches VMs; the lease is renewed only then.",
    labels: PLAIN,
  },
  drover_worker_lease_held: {
    type: "gauge",
    help: "1 while the worker surely holds its host's lease: without it nothing is launched.",
    labels: PLAIN,
  },
  drover_worker_reconciled: {
    type: "gauge",
    help: "1 when everything was compared with Redis since the connection was last lost; nothing is fetched before.",
    labels: PLAIN,
  },
  drover_worker_guard_left_seconds: {
    type: "gauge",
    help: "Time until the guard ends this host's VMs unless the worker moves its deadline; absent where there is no guard.",
    labels: PLAIN,
  },
  drover_worker_breaker_failures: {
    type: "gauge",
    help: "Launches in a row that failed by a fault of this host.",
    labels: PLAIN,
  },
  drover_worker_breaker_open_seconds: {
    type: "gauge",
    help: "For how long this host takes no VM because of such failures; 0 when it does.",
    labels: PLAIN,
  },
  drover_worker_slots: {
    type: "gauge",
    help: "Slots of this host (MANAGER_MAX_VMS); absent where there is no limit.",
    labels: PLAIN,
  },
  drover_worker_slots_used: {
    type: "gauge",
    help: "VMs in the hands of this worker, up to the end of their files.",
    labels: PLAIN,
  },
  drover_worker_launching: {
    type: "gauge",
    help: "Launches that have not come to run yet.",
    labels: PLAIN,
  },
  drover_worker_ports: {
    type: "gauge",
    help: "Ports that VMs of this host may get.",
    labels: PLAIN,
  },
  drover_worker_ports_free: {
    type: "gauge",
    help: "Of these the ones that are free.",
    labels: PLAIN,
  },
  drover_launch_phase_seconds: {
    type: "histogram",
    help: "How long the phases of a launch took.",
    labels: {
      phase:
        "`queued` (from accept to the fetch, first launches only), `preparing` (files, until QEMU exists), `starting` (until it runs), `booting` (until the probe answers), `whole` (from the fetch to running)",
    },
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800],
  },
  drover_launches_ended_total: {
    type: "counter",
    help: "Launches that this worker brought to their end.",
    labels: { outcome: "`completed`, `removed`, `expired`, `failed`, `retrying`, `requeued`, `released`" },
    zeros: every("outcome", ["completed", "removed", "expired", "failed", "retrying", "requeued", "released"]),
  },
  drover_launch_failures_total: {
    type: "counter",
    help: "Launches that failed or had to go back to the queue, by cause (docs/causes.md).",
    labels: { cause: "the cause's code" },
    zeros: every("cause", CAUSE_CODES),
  },
  drover_fetches_total: {
    type: "counter",
    help: "Looks into the queues.",
    labels: { outcome: "`job`, `empty`, `error`" },
    zeros: every("outcome", ["job", "empty", "error"]),
  },
  drover_adoptions_total: {
    type: "counter",
    help: "Launches of the worker before that this worker has claimed.",
    labels: { outcome: "`claimed`, `refused`" },
    zeros: every("outcome", ["claimed", "refused"]),
  },
  drover_reassertions_total: {
    type: "counter",
    help: "Live launches that Redis had lost or knew in an older state, and what it said when it was told.",
    labels: { outcome: "`reasserted`, `superseded`, `final`" },
    zeros: every("outcome", ["reasserted", "superseded", "final"]),
  },
  drover_fenced_writes_total: {
    type: "counter",
    help: "Moves of a launch that Redis refused because the launch does not count any more.",
    labels: { action: "`prepare`, `move`", why: "`not_owner`, `no_record`, `wrong_state`" },
    zeros: everyPair(["action", ["prepare", "move"]], ["why", ["not_owner", "no_record", "wrong_state"]]),
  },
  drover_reconcile_seconds: {
    type: "histogram",
    help: "How long a round of comparing queue, records, disk, processes and ports took.",
    labels: PLAIN,
    buckets: [0.01, 0.05, 0.25, 1, 5, 30],
  },
  drover_reconcile_failures_total: {
    type: "counter",
    help: "Rounds that could not be finished.",
    labels: PLAIN,
  },
} as const satisfies Record<string, MetricSpec>;
