import { API_METRICS } from "./api-metrics.ts";
import { FLEET_METRICS } from "./fleet-metrics.ts";
import type { MetricSpec } from "./metric-spec.ts";
import { SHARED_METRICS } from "./shared-metrics.ts";
import { WORKER_METRICS } from "./worker-metrics.ts";

/** Every metric of drover's own, by name. */
export const METRICS = { ...API_METRICS, ...FLEET_METRICS, ...WORKER_METRICS, ...SHARED_METRICS } as const;

type Metrics = typeof METRICS;
type MetricOfType<T extends MetricSpec["type"]> = {
  [K in keyof Metrics]: Metrics[K]["type"] extends T ? K : never;
}[keyof Metrics];

type MetricName = keyof Metrics;
export type CounterName = MetricOfType<"counter">;
export type GaugeName = MetricOfType<"gauge">;
/** What single values are put into: histograms and summaries. */
export type SpreadName = MetricOfType<"histogram" | "summary">;
/** The labels of a metric, all of them. */
export type LabelsOf<K extends MetricName> = Readonly<Record<keyof Metrics[K]["labels"], string>>;

/** Which metrics a process has. */
export const METRICS_OF = {
  api: { ...API_METRICS, ...FLEET_METRICS, ...SHARED_METRICS },
  worker: { ...WORKER_METRICS, ...SHARED_METRICS },
} as const satisfies Record<string, Readonly<Record<string, MetricSpec>>>;
export type MeteredProcess = keyof typeof METRICS_OF;
