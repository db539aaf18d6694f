import { expect, test } from "vitest";
import { startCluster } from "../helpers/cluster.ts";
import { startDrover } from "../helpers/drover.ts";
import { launchPaths } from "../helpers/launch-paths.ts";
import { machineOf, pressPowerButton } from "../helpers/machine-of.ts";

test("on a cluster of three nodes a VM is launched, taken over by the next worker, ended and removed", async () => {
  await using cluster = await startCluster();
  await using host = await startDrover({
    rom: "obedient",
    redis: { ...cluster, origin: "a cluster", pid: undefined, stop: async () => undefined },
  });
  const [ends, removed] = [await host.submit({ result: true }), await host.submit({ ttl: "1h" })];
  for (const vmId of [ends, removed]) await host.until(vmId, "running");
  const machine = machineOf(ends);
  await host.worker?.stop("keep");
  await host.runWorker();
  await host.untilEvent(ends, "vm.adopted");
  expect(machineOf(ends)).toEqual(machine);
  await pressPowerButton(launchPaths(host, ends));
  await host.until(ends, "completed");
  await host.remove(removed);
  await host.until(removed, "removed");
});
