import { describe, expect, test } from "vitest";
import { nextPorts, startDrover } from "../helpers/drover.ts";
import { makeGatedQemu } from "../helpers/gated-qemu.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { machinesOf } from "../helpers/machine-traces.ts";

describe("MANAGER_MAX_VMS", () => {
  test("bounds the VMs of a host; the next one is not fetched before one of them has ended", async () => {
    await using host = await startDrover({ rom: "obedient", env: { MANAGER_MAX_VMS: "2" } });
    const vmIds = [await host.submit(), await host.submit(), await host.submit()];
    const [one = "", two = "", three = ""] = vmIds;
    await host.until(one, "running");
    await host.until(two, "running");
    expect(await host.get(three)).toMatchObject({ state: "queued", epoch: 0 });
    await host.remove(two);
    const vm = await host.until(three, "running");
    expect(vm.epoch, "it would have a higher epoch if it had been fetched and put back").toBe(1);
    expect(machinesOf(new Set(vmIds))).toHaveLength(2);
    await host.remove(one);
    await host.remove(three);
    for (const vmId of vmIds) await host.until(vmId, "removed");
    await expectAgreement(host);
  });

  for (const unlimited of ["0", "-1"]) {
    test(`${unlimited} means as many as there are ports`, async () => {
      await using host = await startDrover({ rom: "idle", ports: nextPorts(5), env: { MANAGER_MAX_VMS: unlimited } });
      const vmIds = await Promise.all([1, 2, 3, 4, 5].map(() => host.submit()));
      for (const vmId of vmIds) await host.until(vmId, "running");
      expect(machinesOf(new Set(vmIds))).toHaveLength(5);
      await Promise.all(vmIds.map((vmId) => host.remove(vmId, "?force")));
      for (const vmId of vmIds) await host.until(vmId, "removed");
      await expectAgreement(host);
    });
  }
});

describe("DROVER_MAX_BOOTS", () => {
  test("bounds the guests that boot at once: a VM with a probe counts until it is ready", async () => {
    await using host = await startDrover({ rom: "idle", env: { DROVER_MAX_BOOTS: "2" } });
    const booting = await Promise.all([1, 2].map(() => host.submit({ probe: { type: "console", text: "login:" } })));
    for (const vmId of booting) await host.until(vmId, "running");
    const waiting = await Promise.all([1, 2].map(() => host.submit()));
    for (const vmId of waiting) await host.until(vmId, "preparing");
    expect(machinesOf(new Set(waiting)), "they have their slot and wait for their turn").toHaveLength(0);
    const [first = "", second = ""] = booting;
    await host.remove(first, "?force");
    for (const vmId of waiting) await host.until(vmId, "running");
    const stopped = await host.untilEvent(first, "vm.stopping");
    for (const vmId of waiting) {
      const started = await host.untilEvent(vmId, "vm.starting");
      expect(Date.parse(started.time)).toBeGreaterThanOrEqual(Date.parse(stopped.time));
    }
    for (const vmId of [second, ...waiting]) await host.remove(vmId, "?force");
    for (const vmId of [second, ...waiting]) await host.until(vmId, "removed");
    await expectAgreement(host);
  });

  test("a boot deadline begins when the boot does: waiting for a turn uses no attempt", async () => {
    using qemu = makeGatedQemu();
    const env = { DROVER_MAX_BOOTS: "1", MANAGER_QEMU_BIN_PATH: qemu.binPath };
    await using host = await startDrover({ rom: "idle", env });
    qemu.close();
    const slow = await host.submit({ bootTimeout: "1m" });
    await host.until(slow, "starting");
    const waiting = await host.submit({ bootTimeout: "500ms", attempts: 1 });
    const { time } = await host.untilEvent(waiting, "vm.preparing");
    await expect.poll(() => Date.now() - Date.parse(time), { timeout: 10_000 }).toBeGreaterThan(600);
    expect((await host.get(waiting)).state).toBe("preparing");
    await qemu.open();
    await host.until(waiting, "running");
    for (const vmId of [slow, waiting]) await host.remove(vmId, "?force");
    for (const vmId of [slow, waiting]) await host.until(vmId, "removed");
  });
});
