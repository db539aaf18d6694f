import { every, type MetricSpec, PLAIN } from "./metric-spec.ts";

/** What APIs and workers both have. */
export const SHARED_METRICS = {
  drover_build_info: {
    type: "gauge",
    help: "Always 1; names the version that runs.",
    labels: { version: "drover's version", node: "Node's version" },
  },
  drover_secret_keys: {
    type: "gauge",
    help: "Keys for secrets that this process knows; with 0 it refuses VMs with secrets.",
    labels: PLAIN,
  },
  drover_redis_script_seconds: {
    type: "histogram",
    help: "Round trips of drover's own scripts in Redis, from sending to the answer.",
    labels: { script: "the script's name, for example `accept` (ARCHITECTURE.md)" },
    buckets: [0.000_5, 0.002, 0.01, 0.05, 0.25, 1],
  },
  drover_redis_script_errors_total: {
    type: "counter",
    help: "Calls of these scripts that Redis refused or did not answer.",
    labels: { script: "as above" },
  },
  drover_reaped_vms_total: {
    type: "counter",
    help: "VMs of lost hosts that this process has looked at to take them back, by what became of them.",
    labels: { outcome: "`queued`, `failed`, `removed`, `expired`, `settled`, `returned`" },
    zeros: every("outcome", ["queued", "failed", "removed", "expired", "settled", "returned"]),
  },
  drover_sweep_seconds: {
    type: "histogram",
    help: "How long a sweep took: missing jobs, time limits, retention.",
    labels: PLAIN,
    buckets: [0.005, 0.05, 0.5, 5],
  },
  drover_sweep_failures_total: {
    type: "counter",
    help: "Sweeps of which a step failed.",
    labels: PLAIN,
  },
} as const satisfies Record<string, MetricSpec>;
