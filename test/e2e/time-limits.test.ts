import { afterAll, describe, expect, test } from "vitest";
import type { CloudEvent } from "../../src/contract/vm-event.ts";
import { startDrover } from "../helpers/drover.ts";
import { makeGatedQemu } from "../helpers/gated-qemu.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { killMachine } from "../helpers/machine-of.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

describe("ttl", () => {
  const host = sharedDrover({ rom: "obedient", env: { MANAGER_MAX_VMS: "1" } });

  test("ends a VM as expired, counted from its first running and not from its submission", async () => {
    const first = await host().submit({ ttl: "1s" });
    const second = await host().submit({ ttl: "1s" });
    const running = await host().until(first, "running");
    expect(msBetween(running.runningAt, running.expiresAt)).toBeCloseTo(1_000, -2);
    expect(await host().until(first, "expired")).toMatchObject({
      endReason: "ttl",
      removal: { reason: "ttl" },
      cause: null,
    });
    expect(await host().until(second, "running"), "it has waited for longer than its ttl").toMatchObject({ epoch: 1 });
    expect(await host().until(second, "expired")).toMatchObject({ endReason: "ttl" });
    const events = await host().events(second);
    expect(types(events)).toEqual([
      "queued",
      "preparing",
      "starting",
      "running",
      "removal_requested",
      "stopping",
      "expired",
    ]);
    expect(events.at(-1)?.data).toEqual({ reason: "ttl" });
  });

  test("is kept across a retry", async () => {
    const vmId = await host().submit({ ttl: "2s", attempts: 5 });
    const { expiresAt } = await host().until(vmId, "running");
    killMachine(vmId, "SIGKILL");
    await host().untilEvent(vmId, "vm.running", 2);
    expect((await host().get(vmId)).expiresAt).toBe(expiresAt);
    const expired = await host().until(vmId, "expired");
    expect(expired).toMatchObject({ epoch: 2, attempts: { made: 1 } });
    expect(msBetween(expiresAt, expired.endedAt)).toBeLessThan(2_000);
  });
});

describe("a VM that no host has", () => {
  test("expires while it waits for its next launch", async () => {
    await using host = await startDrover({ rom: "idle", env: { DROVER_BACKOFF: "1m" } });
    const vmId = await host.submit({ ttl: "1s" });
    await host.until(vmId, "running");
    killMachine(vmId, "SIGKILL");
    await host.until(vmId, "retrying");
    expect(await host.until(vmId, "expired")).toMatchObject({ endReason: "ttl", epoch: 1 });
    await expectAgreement(host);
  });

  test("expires with its queueTimeout before any launch, and not after one", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    const lost = await host.submit({ queueTimeout: "300ms" });
    expect(await host.until(lost, "expired")).toMatchObject({
      endReason: "queue_timeout",
      epoch: 0,
      host: null,
      launches: [],
    });
    expect(types(await host.events(lost))).toEqual(["queued", "removal_requested", "expired"]);
    const kept = await host.submit({ queueTimeout: "2s" });
    await host.runWorker();
    await host.until(kept, "running");
    const { createdAt } = await host.get(kept);
    await expect.poll(() => Date.now() - Date.parse(createdAt), { timeout: 10_000 }).toBeGreaterThan(2_500);
    expect((await host.get(kept)).state).toBe("running");
    await host.remove(kept, "?force");
    await host.until(kept, "removed");
    await expectAgreement(host);
  });
});

describe("bootTimeout", () => {
  const qemu = makeGatedQemu();
  const host = sharedDrover({ rom: "idle", env: { MANAGER_QEMU_BIN_PATH: qemu.binPath } });
  afterAll(() => qemu[Symbol.dispose]());

  test("fails a guest that runs and is not ready in time; it is retried like any failure", async () => {
    const vmId = await host().submit({ bootTimeout: "400ms", attempts: 2, probe: { type: "console", text: "login:" } });
    const vm = await host().until(vmId, "failed");
    expect(vm).toMatchObject({ cause: { code: "boot_timeout", fault: "vm" }, attempts: { made: 2 }, epoch: 2 });
    expect(types(await host().events(vmId))).toEqual([
      ...["queued", "preparing", "starting", "running", "stopping", "retrying"],
      ...["preparing", "starting", "running", "stopping", "failed"],
    ]);
  });

  test("fails a QEMU that does not come to life in time", async () => {
    qemu.close();
    const vmId = await host().submit({ bootTimeout: "400ms", attempts: 1 });
    const vm = await host().until(vmId, "failed");
    qemu.lift();
    expect(vm).toMatchObject({ cause: { code: "boot_timeout" }, runningAt: null });
  });

  test("does not count once the guest is up", async () => {
    await host().chooseGuest("hello");
    const probe = { type: "console", text: "hello from" } as const;
    const vmId = await host().submit({ bootTimeout: "2s", attempts: 20, probe });
    const { readyAt } = await host().until(vmId, "ready");
    await expect.poll(() => Date.now() - Date.parse(readyAt ?? ""), { timeout: 10_000 }).toBeGreaterThan(2_000);
    expect((await host().get(vmId)).state).toBe("ready");
  });
});

test("bad limits are refused all at once, and nothing is queued", async () => {
  await using host = await startDrover({ rom: "idle", worker: false });
  const body = { ttl: "-1s", queueTimeout: "soon", bootTimeout: "0s", attempts: 0 };
  const response = await host.call("/v1/vms", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(400);
  const problem: unknown = await response.json();
  expect(problem).toMatchObject({ code: "invalid_request" });
  const fields = Object.keys(body).map((field) => expect.objectContaining({ field }));
  expect(problem).toMatchObject({ problems: expect.arrayContaining(fields) });
  expect(await host.client.exists(host.keys.allVms, host.keys.events)).toBe(0);
});

function types(events: readonly CloudEvent[]): string[] {
  return events.map(({ type }) => type.slice("vm.".length));
}

function msBetween(from: string | null, to: string | null): number {
  return Date.parse(to ?? "") - Date.parse(from ?? "");
}
