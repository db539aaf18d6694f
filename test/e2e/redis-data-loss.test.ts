import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { findByUuid } from "../../src/qemu/process-scan.ts";
import { bootId } from "../../src/runtime/process-identity.ts";
import { startDrover } from "../helpers/drover.ts";
import { launchPaths } from "../helpers/launch-paths.ts";
import { machineOf, pressPowerButton } from "../helpers/machine-of.ts";
import { listeningPorts } from "../helpers/machine-traces.ts";
import { freePort, startRedis } from "../helpers/redis-server.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

describe("a Redis that lost everything", () => {
  test("is told of every live VM again: none is killed, none started twice, and they end as they would have", async () => {
    await using host = await startDrover({ rom: "obedient" });
    const vmIds = [await host.submit({ name: "one" }), await host.submit({ ttl: "1h" }), await host.submit()];
    for (const vmId of vmIds) await host.until(vmId, "running");
    const views = await Promise.all(vmIds.map((vmId) => host.get(vmId)));
    const machines = vmIds.map((vmId) => machineOf(vmId));
    await host.client.flushall();

    for (const vmId of vmIds) await host.untilEvent(vmId, "vm.reasserted");
    expect(vmIds.map((vmId) => machineOf(vmId))).toEqual(machines);
    for (const [index, vmId] of vmIds.entries()) {
      const { state, epoch, address, spec, owner, createdAt, expiresAt } = views[index] ?? {};
      const after = await host.get(vmId);
      expect(after).toMatchObject({ state, epoch, address, spec, owner, createdAt });
      expect(Math.abs(Date.parse(after.expiresAt ?? "") - Date.parse(expiresAt ?? "")) || 0).toBeLessThan(1_000);
    }
    await waitFor(() => host.logs().includes("Redis lost data"), { what: "the loss to be said loudly" });
    const other = await host.submit();
    await host.until(other, "running");
    expect(new Set(listeningPorts(host.ports)).size, "no port was given twice").toBe(4);

    const [off = "", late = "", gone = ""] = vmIds;
    await pressPowerButton(launchPaths(host, off));
    expect(await host.until(off, "completed")).toMatchObject({ epoch: 1 });
    for (const vmId of [late, gone, other]) await host.remove(vmId);
    for (const vmId of [late, gone, other]) await host.until(vmId, "removed");
    for (const vmId of [...vmIds, other]) expect(findByUuid(vmId)).toEqual([]);
    const queue = (part: string) => host.keys.bull("vm.default", part);
    await waitFor(async () => (await host.client.llen(queue("active"))) === 0, { what: "all jobs to be settled" });
    expect(await host.client.zcard(queue("prioritized"))).toBe(0);
    expect(await host.client.hlen(host.keys.ports(bootId()))).toBe(0);
  });

  test("while no worker ran is told by the next one, from what stands on the disk", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit({ ttl: "1h", labels: { team: "a" } });
    await host.until(vmId, "running");
    const { createdAt, expiresAt, address, spec } = await host.get(vmId);
    const machine = machineOf(vmId);
    await waitFor(() => readFileSync(launchPaths(host, vmId).record, "utf8").includes('"state":"running"'), {
      what: "the running VM on disk",
    });
    await worker.kill();
    await host.client.flushall();
    await host.runWorker();
    await host.untilEvent(vmId, "vm.adopted");
    expect(machineOf(vmId)).toEqual(machine);
    const after = await host.get(vmId);
    expect(after).toMatchObject({ state: "running", epoch: 1, createdAt, address, spec });
    expect(Math.abs(Date.parse(after.expiresAt ?? "") - Date.parse(expiresAt ?? ""))).toBeLessThan(1_000);
    await host.remove(vmId);
    await host.until(vmId, "removed");
  });
});

describe("a Redis that went back in time", () => {
  test("in which live VMs still wait: nobody launches them again, on no host", async () => {
    const dir = mkdtempSync(join(tmpdir(), "drover-redis-"));
    const port = await freePort();
    const start = () => startRedis({ local: true, dir, port });
    let redis = await start();
    try {
      await using host = await startDrover({ rom: "obedient", worker: false, redis });
      const vmIds = [await host.submit(), await host.submit()];
      await host.client.save();
      copyFileSync(join(dir, "dump.rdb"), join(dir, "earlier.rdb"));
      const otherDir = mkdtempSync(join(tmpdir(), "drv-"));
      try {
        await host.runWorker({ DROVER_SWEEP_INTERVAL: "500ms" });
        for (const vmId of vmIds) await host.until(vmId, "running");
        const machines = vmIds.map((vmId) => machineOf(vmId));
        await using _other = await startWorkerProcess({
          ...host.env,
          DROVER_STATE_DIR: otherDir,
          MANAGER_INSTANCE_ID: "other",
        });
        await redis.stop();
        copyFileSync(join(dir, "earlier.rdb"), join(dir, "dump.rdb"));
        redis = await start();
        for (const vmId of vmIds) await host.untilEvent(vmId, "vm.reasserted");
        for (const vmId of vmIds) expect(await host.get(vmId)).toMatchObject({ state: "running", epoch: 1 });
        const late = await host.submit();
        await host.until(late, "running");
        expect(
          vmIds.map((vmId) => machineOf(vmId)),
          "the very same processes",
        ).toEqual(machines);
        for (const vmId of [...vmIds, late]) await host.remove(vmId);
        for (const vmId of [...vmIds, late]) await host.until(vmId, "removed");
      } finally {
        rmSync(otherDir, { recursive: true, force: true });
      }
    } finally {
      await redis.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
