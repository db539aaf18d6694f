import { expect, test } from "vitest";
import { sharedDrover } from "../helpers/shared-drover.ts";

const BACKOFF_MS = 100;
const BACKOFF_MAX_MS = 300;
const host = sharedDrover({
  rom: "panic",
  env: { DROVER_BACKOFF: `${BACKOFF_MS}ms`, DROVER_BACKOFF_MAX: `${BACKOFF_MAX_MS}ms` },
});

test("the waits between launches double up to their bound, each with jitter in its upper half, and are kept", async () => {
  const vmId = await host().submit({ attempts: 5 });
  const vm = await host().until(vmId, "failed");
  expect(vm).toMatchObject({ attempts: { made: 5, max: 5 }, epoch: 5 });
  const events = await host().events(vmId);
  const retries = events.filter(({ type }) => type === "vm.retrying");
  const launches = events.filter(({ type }) => type === "vm.preparing");
  expect(retries.map(({ data }) => data["attempt"])).toEqual([1, 2, 3, 4]);
  for (const [index, { data, time }] of retries.entries()) {
    const fullMs = Math.min(BACKOFF_MS * 2 ** index, BACKOFF_MAX_MS);
    const delayMs = Number(data["delayMs"]);
    expect(delayMs).toBeGreaterThanOrEqual(fullMs / 2);
    expect(delayMs).toBeLessThanOrEqual(fullMs);
    const waitedMs = Date.parse(launches[index + 1]?.time ?? "") - Date.parse(time);
    expect(waitedMs).toBeGreaterThanOrEqual(delayMs - 1);
    expect(waitedMs, "no look every few seconds: the host knows when a job is due").toBeLessThan(delayMs + 2_500);
  }
});

test("a request says how many attempts it has, else the configuration does", async () => {
  const [once, asConfigured] = [await host().submit({ attempts: 1 }), await host().submit()];
  expect(await host().until(once, "failed")).toMatchObject({ attempts: { made: 1, max: 1 }, epoch: 1 });
  expect(await host().until(asConfigured, "failed")).toMatchObject({ attempts: { made: 3, max: 3 }, epoch: 3 });
});
