import { Queue } from "bullmq";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { CloudEvent } from "../../src/contract/vm-event.ts";
import { isFinal } from "../../src/contract/vm-state.ts";
import { removeQueueName } from "../../src/queue/redis-keys.ts";
import { VmStore } from "../../src/queue/vm-store.ts";
import { startDrover } from "../helpers/drover.ts";
import { makeGatedQemu } from "../helpers/gated-qemu.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { killMachine } from "../helpers/machine-of.ts";
import { machinesOf } from "../helpers/machine-traces.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

function types(events: readonly CloudEvent[]): string[] {
  return events.map(({ type }) => type.slice("vm.".length));
}

describe("a VM that no host has is removed at once", () => {
  test("while it waits for its first launch", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    const vmId = await host.submit();
    const response = await host.remove(vmId);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ state: "removed", endReason: "requested", removal: { by: "local" } });
    expect(types(await host.events(vmId))).toEqual(["queued", "removal_requested", "removed"]);
    await host.runWorker();
    const later = await host.submit();
    await host.until(later, "running");
    expect((await host.get(vmId)).epoch, "never launched").toBe(0);
    await host.remove(later, "?force");
    await host.until(later, "removed");
    await expectAgreement(host);
  });

  test("while it waits for its next launch", async () => {
    await using host = await startDrover({ rom: "idle", env: { DROVER_BACKOFF: "1m" } });
    const vmId = await host.submit();
    await host.until(vmId, "running");
    killMachine(vmId, "SIGKILL");
    await host.until(vmId, "retrying");
    expect((await host.remove(vmId)).status).toBe(200);
    expect(types(await host.events(vmId)).slice(-3)).toEqual(["retrying", "removal_requested", "removed"]);
    await expectAgreement(host);
  });
});

describe("a VM that a host has is stopped by it,", () => {
  const qemu = makeGatedQemu();
  const host = sharedDrover({ rom: "obedient", env: { MANAGER_QEMU_BIN_PATH: qemu.binPath, DROVER_MAX_BOOTS: "1" } });
  afterEach(() => qemu.lift());
  afterAll(() => qemu[Symbol.dispose]());

  test("before its QEMU exists", async () => {
    qemu.close();
    const booting = await host().submit();
    await host().until(booting, "starting");
    const vmId = await host().submit(); // one may boot at a time: this one waits for its turn
    await host().until(vmId, "preparing");
    expect((await host().remove(vmId)).status).toBe(202);
    await host().until(vmId, "removed");
    expect(types(await host().events(vmId))).toEqual(["queued", "preparing", "removal_requested", "removed"]);
  });

  test("while its QEMU comes to life", async () => {
    qemu.close();
    const vmId = await host().submit();
    await host().until(vmId, "starting");
    await host().remove(vmId);
    await host().until(vmId, "removed");
    expect(types(await host().events(vmId))).toEqual([
      "queued",
      "preparing",
      "starting",
      "removal_requested",
      "removed",
    ]);
  });

  test("while it runs: the guest is asked, and obeys", async () => {
    const vmId = await host().submit();
    await host().until(vmId, "running");
    const response = await host().call(`/v1/vms/${vmId}`, { method: "DELETE", headers: { prefer: "wait=60" } });
    expect(response.status, "it waited for the end").toBe(200);
    expect(await response.json()).toMatchObject({ state: "removed", address: null });
    expect(machinesOf(new Set([vmId]))).toEqual([]);
    const events = await host().events(vmId);
    expect(types(events).slice(-3)).toEqual(["removal_requested", "stopping", "removed"]);
    expect(events.at(-2)?.data).toMatchObject({ reason: "requested" });
  });

  test("when it is ready", async () => {
    await host().chooseGuest("hello");
    const vmId = await host().submit({ probe: { type: "console", text: "hello" } });
    await host().until(vmId, "ready");
    await host().remove(vmId, "?force");
    await host().until(vmId, "removed");
    expect(types(await host().events(vmId)).slice(-4)).toEqual(["ready", "removal_requested", "stopping", "removed"]);
  });

  test("once, when it is asked for many times at once", async () => {
    await host().chooseGuest("obedient");
    const vmId = await host().submit();
    await host().until(vmId, "running");
    const answers = await Promise.all(Array.from({ length: 10 }, () => host().remove(vmId)));
    expect(answers.every(({ status }) => status === 202 || status === 200)).toBe(true);
    await host().until(vmId, "removed");
    expect((await host().remove(vmId)).status).toBe(200);
    const events = types(await host().events(vmId));
    expect(events.filter((type) => type === "removal_requested" || type === "removed")).toEqual([
      "removal_requested",
      "removed",
    ]);
  });

  test("however soon after its submission it is asked for", async () => {
    for (let round = 0; round < 10; round++) {
      const vmId = await host().submit();
      await host().remove(vmId, "?force");
      await host().until(vmId, "removed");
      const events = types(await host().events(vmId));
      expect(events.filter((type) => type === "removed")).toHaveLength(1);
      expect(events.at(-1)).toBe("removed");
    }
  });
});

test("a guest that ignores its power button is ended by force as soon as somebody says so", async () => {
  await using host = await startDrover({ rom: "idle", env: { DROVER_STOP_POWERDOWN_TIMEOUT: "10m" } });
  const vmId = await host.submit();
  await host.until(vmId, "running");
  await host.remove(vmId);
  await host.until(vmId, "stopping");
  await host.remove(vmId, "?force");
  await host.until(vmId, "removed", 30_000);
  const events = types(await host.events(vmId));
  expect(events.filter((type) => type === "removal_requested")).toHaveLength(1);
  await expectAgreement(host);
});

describe("a VM that has ended", () => {
  const host = sharedDrover({ rom: "poweroff" });

  test("well stays as it is", async () => {
    const vmId = await host().submit();
    await host().until(vmId, "completed");
    const before = await host().events(vmId);
    const response = await host().remove(vmId);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ state: "completed", removal: null });
    expect(await host().events(vmId)).toEqual(before);
  });

  test("in failure can no longer be retried once its removal was asked for", async () => {
    await host().chooseGuest("panic");
    const vmId = await host().submit({ attempts: 1 });
    await host().until(vmId, "failed");
    expect((await host().remove(vmId)).status).toBe(200);
    const retried = await host().retry(vmId);
    expect(retried.status).toBe(409);
    expect(await retried.json()).toMatchObject({ code: "not_retryable" });
    expect((await host().get(vmId)).state).toBe("failed");
  });
});

describe("a host that was not told", () => {
  const host = sharedDrover({ rom: "obedient" });

  test("finds the mark by itself when the job of the removal is lost", async () => {
    const vmId = await host().submit();
    await host().until(vmId, "running");
    const queue = new Queue(removeQueueName(host().worker?.hostId ?? ""), {
      connection: host().client,
      prefix: host().keys.prefix,
    });
    await queue.pause();
    expect((await host().remove(vmId)).status).toBe(202);
    expect(await queue.remove(`remove-${vmId}`)).toBe(1);
    await queue.resume();
    await queue.close();
    await host().until(vmId, "removed");
  });

  test("finds it also when the API died before it could tell", async () => {
    const { client, keys, config } = host();
    const vmId = await host().submit();
    await host().until(vmId, "running");
    const store = new VmStore({ redis: client, keys, eventsMax: config.eventsMax, keep: config.keep });
    expect(await store.requestRemoval({ vmId, reason: "requested", by: "local" })).toMatchObject({ kind: "marked" });
    await waitFor(async () => isFinal((await host().get(vmId)).state), { what: "the end" });
    expect((await host().get(vmId)).state).toBe("removed");
  });
});

test("a VM whose mark came while it was starting never runs, even if nobody tells its host", async () => {
  using qemu = makeGatedQemu();
  const env = { MANAGER_QEMU_BIN_PATH: qemu.binPath, DROVER_RECONCILE_INTERVAL: "1h" };
  await using host = await startDrover({ rom: "idle", env });
  qemu.close();
  const vmId = await host.submit();
  await host.until(vmId, "starting");
  const { client, keys, config } = host;
  const store = new VmStore({ redis: client, keys, eventsMax: config.eventsMax, keep: config.keep });
  await store.requestRemoval({ vmId, reason: "requested", by: "local" });
  await qemu.open();
  await host.until(vmId, "removed");
  expect(types(await host.events(vmId))).toEqual(["queued", "preparing", "starting", "removal_requested", "removed"]);
  await expectAgreement(host);
});
