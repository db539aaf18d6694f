import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Meter } from "../../../../src/runtime/metrics/meter.ts";
import { METRICS, METRICS_OF } from "../../../../src/runtime/metrics/metric-catalogue.ts";
import { renderMetricReference } from "../../../../src/runtime/metrics/metric-reference.ts";
import type { MetricSpec } from "../../../../src/runtime/metrics/metric-spec.ts";
import { parseMetrics, sampleOf } from "../../../helpers/metrics-text.ts";

const catalogue = Object.entries<MetricSpec>(METRICS);

test("docs/metrics.md is what the catalogue makes (npm run docs)", () => {
  expect(readFileSync("docs/metrics.md", "utf8")).toBe(renderMetricReference());
});

test.each(catalogue)(
  "%s is named and told as Prometheus has it",
  (name, { type, help, labels, buckets, zeros = [] }) => {
    if (!name.startsWith("manager_api_")) {
      expect(name).toMatch(/^drover_[a-z_]+$/);
      expect(name.endsWith("_total"), "counters and only they end so").toBe(type === "counter");
      expect(help).toMatch(/^[A-Z0-9].*\.$/s);
    }
    expect(buckets !== undefined, "buckets").toBe(type === "histogram");
    if (type === "histogram") expect(name).toMatch(/_seconds$/);
    for (const label of Object.keys(labels))
      expect(["vm", "id", "owner", "token", "path", "address"]).not.toContain(label);
    for (const zero of zeros) expect(Object.keys(zero).sort()).toEqual(Object.keys(labels).sort());
  },
);

test("each process has its own metrics, and none has one twice", () => {
  const names = Object.values(METRICS_OF).flatMap((metrics) => Object.keys(metrics));
  expect(new Set(names)).toEqual(new Set(Object.keys(METRICS)));
});

test("counters begin at 0, so that the first time is seen; those of Cocos begin with their first call", async () => {
  const meter = new Meter();
  meter.declare("worker");
  meter.declare("api");
  meter.declare("api");
  const samples = parseMetrics(await meter.scrape());
  expect(sampleOf(samples, "drover_launch_failures_total", { cause: "guest_panic" })).toBe(0);
  expect(sampleOf(samples, "drover_reconcile_failures_total")).toBe(0);
  expect(samples.filter(({ name }) => name.startsWith("manager_api"))).toEqual([]);
});

test("gauges are asked for at each scrape, and what nobody tells any more is not shown", async () => {
  const meter = new Meter();
  meter.declare("api");
  let asked = 0;
  let states: readonly string[] = ["queued", "running"];
  const forget = meter.atScrape(async (gauges) => {
    asked += 1;
    for (const state of states) gauges.set("drover_vms", { state }, asked);
    gauges.set("drover_unqueued_vms", {}, states.length === 2 ? 7 : undefined);
  });
  const read = async () => parseMetrics(await meter.scrape());
  expect(sampleOf(await read(), "drover_unqueued_vms")).toBe(7);
  states = ["queued"];
  const second = await read();
  expect(second.filter(({ name }) => name === "drover_vms")).toEqual([
    { name: "drover_vms", labels: { state: "queued" }, value: 2 },
  ]);
  expect(sampleOf(second, "drover_unqueued_vms"), "not 0 either").toBeUndefined();
  forget();
  expect((await read()).filter(({ name }) => name === "drover_vms")).toEqual([]);
  expect(asked).toBe(2);
});

test("scrapes at the same time share one", async () => {
  const meter = new Meter();
  meter.declare("api");
  let asked = 0;
  meter.atScrape(async () => void asked++);
  const [first, second] = await Promise.all([meter.scrape(), meter.scrape()]);
  expect(second).toBe(first);
  expect(asked).toBe(1);
});

test("what a process is asked to count and has not declared is left alone", async () => {
  const meter = new Meter();
  meter.count("drover_sweep_failures_total", {});
  meter.observe("drover_sweep_seconds", {}, 1);
  expect(await meter.scrape()).toBe("\n");
});

test("values of labels cannot break out of their line", async () => {
  const meter = new Meter();
  meter.declare("api");
  const pool = 'a"} 1\ndrover_redis_up 0 # \\';
  meter.atScrape((gauges) => gauges.set("drover_pool_hosts", { pool }, 1));
  const samples = parseMetrics(await meter.scrape()).filter(({ name }) => /^drover_(pool_hosts|redis_up)$/.test(name));
  expect(samples).toHaveLength(1);
});

test("the process itself is told of where that is asked for", async () => {
  const plain = await new Meter().scrape();
  const whole = await new Meter({ process: true }).scrape();
  expect(plain).not.toContain("process_");
  for (const name of ["process_cpu_seconds_total", "process_resident_memory_bytes", "nodejs_eventloop_lag_p99_seconds"])
    expect(whole).toContain(`\n${name} `);
});
