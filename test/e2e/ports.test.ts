import { afterAll, describe, expect, test } from "vitest";
import { nextPorts, startDrover } from "../helpers/drover.ts";
import { makeGatedQemu } from "../helpers/gated-qemu.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { listenOn } from "../helpers/listener.ts";
import { listeningPorts } from "../helpers/machine-traces.ts";
import { sharedDrover } from "../helpers/shared-drover.ts";

describe("a port that a foreign process holds", () => {
  const qemu = makeGatedQemu();
  const host = sharedDrover({ rom: "obedient", env: { MANAGER_QEMU_BIN_PATH: qemu.binPath } });
  afterAll(() => qemu[Symbol.dispose]());

  test("is found before the launch; the next one is taken within the same attempt", async () => {
    const { first } = host().ports;
    await using _foreign = await listenOn(first);
    const vmId = await host().submit();
    const vm = await host().until(vmId, "running");
    expect(vm).toMatchObject({ address: { port: first + 1 }, attempts: { made: 0 }, epoch: 1 });
    const changed = (await host().events(vmId)).filter(({ type }) => type === "vm.port_changed");
    expect(changed.map(({ data }) => data)).toEqual([
      expect.objectContaining({ setAside: first, port: first + 1, epoch: 1 }),
    ]);
    await expectAgreement(host(), { foreignPorts: [first] });
  });

  test("is found by QEMU's own failure when it was free a moment before; the same attempt goes on", async () => {
    qemu.close();
    const vmId = await host().submit();
    const { data } = await host().untilEvent(vmId, "vm.starting");
    const port = Number(data["port"]);
    await using _foreign = await listenOn(port);
    await qemu.open();
    const vm = await host().until(vmId, "running");
    expect(vm).toMatchObject({ attempts: { made: 0 }, epoch: 1 });
    expect(vm.address?.port).not.toBe(port);
    expect((await host().events(vmId)).map(({ type }) => type)).toEqual([
      "vm.queued",
      "vm.preparing",
      "vm.starting",
      "vm.port_changed",
      "vm.starting",
      "vm.running",
    ]);
    await expectAgreement(host(), { foreignPorts: [port] });
  });
});

describe("a range of two ports", () => {
  test("holds two VMs; the third is not fetched until a port comes back", async () => {
    await using host = await startDrover({ rom: "obedient", ports: nextPorts(2), env: { MANAGER_MAX_VMS: "0" } });
    const vmIds = [await host.submit(), await host.submit(), await host.submit()];
    const [one = "", two = "", three = ""] = vmIds;
    await host.until(one, "running");
    await host.until(two, "running");
    expect(listeningPorts(host.ports)).toEqual([host.ports.first, host.ports.last]);
    expect(await host.get(three)).toMatchObject({ state: "queued", epoch: 0 });
    await host.remove(one);
    const vm = await host.until(three, "running");
    expect(vm.epoch, "it would have a higher epoch if it had been fetched and put back").toBe(1);
    await host.remove(two);
    await host.remove(three);
    for (const vmId of vmIds) await host.until(vmId, "removed");
    await expectAgreement(host);
  });

  test("both in foreign hands costs no attempt; the VM waits in the queue until one can be had", async () => {
    const env = { MANAGER_MAX_VMS: "0", DROVER_PORT_ASIDE: "2500ms" };
    await using host = await startDrover({ rom: "obedient", ports: nextPorts(2), env });
    const { first, last } = host.ports;
    const foreign = [await listenOn(first), await listenOn(last)];
    const vmId = await host.submit();
    const { data } = await host.untilEvent(vmId, "vm.queued", 2);
    expect(data).toMatchObject({ reason: "requeued", cause: { code: "ports_exhausted" } });
    for (const listener of foreign) await listener[Symbol.asyncDispose]();
    const vm = await host.until(vmId, "running");
    expect(vm.attempts.made).toBe(0);
    expect(vm.epoch, "once in vain, and then not before a port was free again").toBe(2);
  });

  test("never gives out the port of drover's own API", async () => {
    const ports = nextPorts(3);
    const own = ports.first + 1;
    await using host = await startDrover({
      rom: "obedient",
      ports,
      env: { MANAGER_MAX_VMS: "0", MANAGER_HTTP_PORT: String(own) },
    });
    const [one, two, three] = [await host.submit(), await host.submit(), await host.submit()];
    expect((await host.until(one, "running")).address?.port).toBe(ports.first);
    expect((await host.until(two, "running")).address?.port).toBe(ports.last);
    await host.remove(one);
    expect(await host.until(three, "running")).toMatchObject({ epoch: 1, address: { port: ports.first } });
  });
});
