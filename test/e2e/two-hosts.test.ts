import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Scope } from "../../src/runtime/scope.ts";
import { startDrover } from "../helpers/drover.ts";
import { filesBelow } from "../helpers/machine-traces.ts";
import { removeAll } from "../helpers/shared-drover.ts";

test("two hosts share a queue and the machine's ports; what one cannot launch, the other does", async () => {
  await using scope = new Scope(); // ends after both workers
  const dir = scope.own(mkdtempSync(join(tmpdir(), "drv-b-")), (path) =>
    rmSync(path, { recursive: true, force: true }),
  );
  await using world = await startDrover({ rom: "obedient", worker: false });
  const bad = await world.runWorker({ MANAGER_QEMU_DISK_IMG_KERNEL_FILE: "/nope/bzImage", MANAGER_INSTANCE_ID: "bad" });
  const good = await world.runWorker({ DROVER_STATE_DIR: dir, MANAGER_INSTANCE_ID: "good" });

  const vmIds = await Promise.all(Array.from({ length: 4 }, () => world.submit()));
  const ports = new Set<number>();
  for (const vmId of vmIds) {
    const vm = await world.until(vmId, "running");
    expect(vm).toMatchObject({ host: good.hostId, attempts: { made: 0 } });
    ports.add(vm.address?.port ?? 0);
  }
  expect(ports.size, "each has a port of its own").toBe(4);
  const blamed = (await Promise.all(vmIds.map((vmId) => world.events(vmId))))
    .flat()
    .filter(({ data }) => data["reason"] === "requeued");
  for (const { data } of blamed) expect(data).toMatchObject({ cause: { code: "kernel_missing" } });

  await removeAll(world);
  await expect.poll(() => filesBelow(join(dir, "vms")), { timeout: 10_000 }).toEqual([]);
  expect(filesBelow(join(world.stateDir, "vms"))).toEqual([]);
  await bad.stop();
  await good.stop();
});
