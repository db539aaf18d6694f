import { METRICS } from "../../src/runtime/metrics/metric-catalogue.ts";
import type { MetricSpec } from "../../src/runtime/metrics/metric-spec.ts";

/** Words of PromQL that may stand where a metric could. */
const WORDS = new Set(
  "and or unless by on without ignoring offset bool group_left group_right sum max min avg count rate increase absent time histogram_quantile topk clamp_min label_replace vector".split(
    " ",
  ),
);
/** What Prometheus adds to every series. */
const TARGET_LABELS = ["instance", "job"];
/** Of Prometheus itself, and those of every Node process that drover's pages use; prom-client gives them. */
const OTHERS: Readonly<Record<string, readonly string[]>> = {
  up: [],
  process_cpu_seconds_total: [],
  process_resident_memory_bytes: [],
  process_start_time_seconds: [],
  nodejs_eventloop_lag_seconds: [],
  nodejs_eventloop_lag_p99_seconds: [],
};

/** What a query names and does not exist: metrics, and labels that none of its metrics has. */
export function strayMetrics(query: string): readonly string[] {
  const stray: string[] = [];
  const labels = new Set(TARGET_LABELS);
  // Without texts, times and numbers: what is left are names.
  const bare = query.replace(/"[^"]*"/g, '""').replace(/\[[^\]]*\]|\boffset \w+|\$\w+/g, " ");
  const grouping = /\b(by|on|without|ignoring)\s*\(([^)]*)\)/g;
  const outside = bare.replace(/\{[^}]*\}/g, (match) => " ".repeat(match.length)).replace(grouping, "");
  for (const [name] of outside.matchAll(/[a-zA-Z_:][\w:]*/g)) {
    if (WORDS.has(name)) continue;
    const known = labelsOf(name);
    if (known === undefined) stray.push(name);
    else for (const label of known) labels.add(label);
  }
  for (const [, name = "", matchers = ""] of bare.matchAll(/([a-zA-Z_:][\w:]*)\{([^}]*)\}/g)) {
    const own = [...TARGET_LABELS, ...(labelsOf(name) ?? [])];
    for (const [, label = ""] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g))
      if (!own.includes(label)) stray.push(`${name}{${label}}`);
  }
  for (const [, , list = ""] of bare.matchAll(grouping))
    for (const [label] of list.matchAll(/\w+/g)) if (!labels.has(label)) stray.push(`by (${label})`);
  return stray;
}

function labelsOf(name: string): readonly string[] | undefined {
  const metrics: Readonly<Record<string, MetricSpec>> = METRICS;
  const spec = metrics[name];
  if (spec !== undefined && spec.type !== "histogram") return [...Object.keys(spec.labels), ...quantile(spec)];
  const [, base = "", part] = /^(.*)_(bucket|sum|count)$/.exec(name) ?? [];
  const whole = metrics[base];
  if (whole === undefined || !["histogram", "summary"].includes(whole.type)) return OTHERS[name];
  if (part === "bucket" && whole.type !== "histogram") return undefined;
  return [...Object.keys(whole.labels), ...(part === "bucket" ? ["le"] : [])];
}

function quantile({ type }: MetricSpec): readonly string[] {
  return type === "summary" ? ["quantile"] : [];
}
