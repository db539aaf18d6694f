import { expect, test } from "vitest";
import { HostList } from "../../src/contract/host-view.ts";
import { parseMetrics, sampleOf } from "../helpers/metrics-text.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

const drover = sharedDrover({
  rom: "obedient",
  env: { MANAGER_INSTANCE_ID: "metered", DROVER_WORKER_METRICS: "127.0.0.1:0" },
});

/** Asks the worker itself, where the API says that it listens. */
async function askWorker(path: string): Promise<Response> {
  const { items } = HostList.parse(await (await drover().call("/v1/hosts")).json());
  const response = await fetch(new URL(path, items[0]?.metrics ?? ""));
  expect(response.status).toBe(200);
  return response;
}

const scrapeWorker = async () => parseMetrics(await (await askWorker("/metrics")).text());

test("a worker tells of the launches that it brings to run and to their end, and of those that fail", async () => {
  const world = drover();
  const vmId = await world.submit();
  await world.until(vmId, "running");
  const during = await scrapeWorker();
  expect(sampleOf(during, "drover_worker_info", { host: "metered" })).toBe(1);
  expect(sampleOf(during, "drover_worker_slots_used")).toBe(1);
  expect(sampleOf(during, "drover_worker_lease_held")).toBe(1);
  expect(sampleOf(during, "drover_worker_ports_free")).toBe(9);
  for (const phase of ["queued", "preparing", "starting", "whole"]) {
    const spent = sampleOf(during, "drover_launch_phase_seconds_sum", { phase }) ?? -1;
    expect(spent, phase).toBeGreaterThanOrEqual(0);
    expect(spent, phase).toBeLessThan(30);
    expect(sampleOf(during, "drover_launch_phase_seconds_count", { phase }), phase).toBe(1);
  }
  expect(sampleOf(during, "drover_redis_script_seconds_count", { script: "prepare" })).toBe(1);
  await world.remove(vmId, "?force");
  await world.until(vmId, "removed");
  await world.chooseGuest("idle");
  const failed = await world.submit({ attempts: 1, bootTimeout: "300ms", probe: { type: "console", text: "never" } });
  await world.until(failed, "failed");
  const after = await waitFor(
    async () => {
      const samples = await scrapeWorker();
      return sampleOf(samples, "drover_worker_slots_used") === 0 ? samples : undefined;
    },
    { what: "the slots to be free" },
  );
  expect(sampleOf(after, "drover_launches_ended_total", { outcome: "removed" })).toBe(1);
  expect(sampleOf(after, "drover_launches_ended_total", { outcome: "failed" })).toBe(1);
  expect(sampleOf(after, "drover_launch_failures_total", { cause: "boot_timeout" })).toBe(1);
});

test("the next worker tells of what it has taken over", async () => {
  const world = drover();
  await world.chooseGuest("obedient");
  const vmId = await world.submit();
  await world.until(vmId, "running");
  await world.worker?.stop("keep");
  await world.runWorker();
  const samples = await waitFor(scrapeWorker, { what: "the next worker's metrics" });
  expect(sampleOf(samples, "drover_adoptions_total", { outcome: "claimed" })).toBe(1);
  expect(sampleOf(samples, "drover_worker_slots_used")).toBe(1);
  expect(await (await askWorker("/health")).json()).toEqual({ status: "pass", problems: [] });
});
