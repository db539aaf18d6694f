import { describe, expect, test } from "vitest";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { killMachine, pressPowerButton } from "../helpers/machine-of.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

describe("how a machine ends", () => {
  const host = sharedDrover({ rom: "idle", env: { MANAGER_LOG_LEVEL: "info", DROVER_STOP_POWERDOWN_TIMEOUT: "0" } });

  test("a guest that powers itself off has completed", async () => {
    await host().chooseGuest("poweroff");
    const vmId = await host().submit();
    const vm = await host().until(vmId, "completed");
    expect(vm).toMatchObject({
      endReason: "guest_shutdown",
      cause: null,
      result: null,
      attempts: { made: 0 },
      epoch: 1,
    });
    const ended = (await host().events(vmId)).at(-1);
    expect(ended).toMatchObject({ type: "vm.completed", data: { reason: "guest_shutdown", exitCode: null } });
  });

  test("a panic uses an attempt and is retried until none is left", async () => {
    await host().chooseGuest("panic");
    const vmId = await host().submit({ attempts: 3 });
    const vm = await host().until(vmId, "failed");
    expect(vm).toMatchObject({ cause: { code: "guest_panic", fault: "vm" }, attempts: { made: 3, max: 3 }, epoch: 3 });
    expect(vm.launches.map(({ epoch, cause }) => [epoch, cause?.code])).toEqual(
      [1, 2, 3].map((epoch) => [epoch, "guest_panic"]),
    );
    const events = await host().events(vmId);
    expect(events.filter(({ type }) => type === "vm.retrying").map(({ data }) => data["attempt"])).toEqual([1, 2]);
    expect(events.at(-1)).toMatchObject({ type: "vm.failed", data: { attempt: 3, cause: { code: "guest_panic" } } });
  });

  for (const [signal, code] of [
    ["SIGKILL", "qemu_killed"],
    ["SIGTERM", "qemu_killed"],
    ["SIGSEGV", "qemu_crashed"],
    ["SIGABRT", "qemu_crashed"],
  ] as const) {
    test(`a QEMU that ends by ${signal} has failed with ${code}`, async () => {
      await host().chooseGuest("idle");
      const vmId = await host().submit({ attempts: 1 });
      await host().until(vmId, "running");
      killMachine(vmId, signal);
      const vm = await host().until(vmId, "failed");
      expect(vm).toMatchObject({ cause: { code, fault: "host" }, attempts: { made: 1 }, address: null });
    });
  }

  test("a VM whose QEMU was killed runs again, in its next epoch", async () => {
    await host().chooseGuest("idle");
    const vmId = await host().submit({ attempts: 2 });
    await host().until(vmId, "running");
    killMachine(vmId, "SIGKILL");
    await host().untilEvent(vmId, "vm.running", 2);
    expect(await host().get(vmId)).toMatchObject({ state: "running", epoch: 2, attempts: { made: 1, max: 2 } });
  });

  test("a reboot goes on by default", async () => {
    await host().chooseGuest("reboot");
    const vmId = await host().submit();
    await host().until(vmId, "running");
    const said = (line: string) => line.includes("guest-rebooted") && line.includes(vmId);
    await waitFor(() => host().logs().split("\n").filter(said).length >= 2, {
      what: "two reboots in the worker's log",
    });
    expect((await host().get(vmId)).state).toBe("running");
  });

  test("a reboot ends a VM whose request says so", async () => {
    await host().chooseGuest("rebootOnButton");
    const vmId = await host().submit({ onReboot: "end" });
    await host().until(vmId, "running");
    await pressPowerButton(vmPaths({ stateDir: host().stateDir, vmId, epoch: 1 }));
    expect(await host().until(vmId, "completed")).toMatchObject({ endReason: "guest_reset" });
  });
});

describe("what a guest hands back", () => {
  const host = sharedDrover();

  test("an exit code other than 0 is a failure that is not retried", async () => {
    const vmId = await host().submit({ agentCvmServerUrl: "demo:exit:3", result: true });
    const vm = await host().until(vmId, "failed");
    expect(vm).toMatchObject({
      cause: { code: "computation_failed", fault: "vm" },
      result: { exitCode: 3, text: "asked to end with 3" },
      attempts: { made: 1, max: 3 },
      epoch: 1,
    });
    expect(vm.tail?.console).toContain("computation: exit");
    expect((await host().events(vmId)).at(-1)).toMatchObject({ type: "vm.failed", data: { exitCode: 3 } });
  });

  test("with retryComputation it is retried, in the next epoch and after the backoff", async () => {
    const vmId = await host().submit({
      agentCvmServerUrl: "demo:exit:3",
      result: true,
      retryComputation: true,
      attempts: 2,
    });
    const vm = await host().until(vmId, "failed");
    expect(vm).toMatchObject({ cause: { code: "computation_failed" }, attempts: { made: 2, max: 2 }, epoch: 2 });
    const events = await host().events(vmId);
    const retrying = events.find(({ type }) => type === "vm.retrying");
    expect(retrying?.data).toMatchObject({ epoch: 1, attempt: 1, attempts: 2 });
    const again = events.filter(({ type }) => type === "vm.preparing")[1];
    const waitedMs = Date.parse(again?.time ?? "") - Date.parse(retrying?.time ?? "");
    expect(waitedMs).toBeGreaterThanOrEqual(Number(retrying?.data["delayMs"]) - 1);
  });
});
