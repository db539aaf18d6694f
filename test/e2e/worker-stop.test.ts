import { describe, expect, test } from "vitest";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { machinesOf } from "../helpers/machine-traces.ts";

describe("a worker that stops and stops its VMs", () => {
  test("gives its VMs back to the queue without using an attempt; the next one runs them in a higher epoch", async () => {
    await using host = await startDrover({ rom: "obedient", env: { DROVER_MAX_BOOTS: "1" } });
    const running = await host.submit();
    await host.until(running, "running");
    const booting = await host.submit({ probe: { type: "console", text: "login:" } });
    await host.until(booting, "running");
    const waiting = await host.submit(); // for its turn to boot
    await host.until(waiting, "preparing");
    const vmIds = [running, booting, waiting];
    await host.worker?.stop("stop");
    expect(machinesOf(new Set(vmIds))).toEqual([]);
    for (const vmId of vmIds) {
      expect(await host.get(vmId)).toMatchObject({
        state: "queued",
        attempts: { made: 0 },
        address: null,
        cause: null,
      });
      expect((await host.events(vmId)).at(-1)).toMatchObject({ type: "vm.queued", data: { reason: "released" } });
    }
    await expectAgreement(host);

    await host.runWorker({ DROVER_MAX_BOOTS: "4" });
    for (const vmId of vmIds) expect((await host.until(vmId, "running")).epoch).toBe(2);
    for (const vmId of vmIds) await host.remove(vmId);
    for (const vmId of vmIds) await host.until(vmId, "removed");
    await expectAgreement(host);
  });

  test("leaves alone what was removed meanwhile", async () => {
    await using host = await startDrover({ rom: "obedient" });
    const vmId = await host.submit();
    await host.until(vmId, "running");
    await Promise.all([host.remove(vmId), host.worker?.stop("stop")]);
    await host.until(vmId, "removed");
    await expectAgreement(host);
  });
});

describe("a state directory", () => {
  test("belongs to one worker at a time; a second one is told so", async () => {
    await using host = await startDrover({ rom: "obedient" });
    await expect(host.runWorker()).rejects.toThrow(`another worker runs with the state directory ${host.stateDir}`);
    const vmId = await host.submit();
    await host.until(vmId, "running");
    await expect(host.runWorker(), "also when there are VMs").rejects.toThrow("another worker runs");
    expect((await host.get(vmId)).state).toBe("running");
  });

  test("belongs to one host name", async () => {
    await using host = await startDrover({ rom: "idle", env: { MANAGER_INSTANCE_ID: "one" } });
    await host.worker?.stop("stop");
    await expect(host.runWorker({ MANAGER_INSTANCE_ID: "two" })).rejects.toThrow('belongs to host "one"');
  });
});
