import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Queue } from "bullmq";
import { describe, expect, test } from "vitest";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { Scope } from "../../src/runtime/scope.ts";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { killMachine, machineOf, pressPowerButton } from "../helpers/machine-of.ts";
import { freePort, startRedis } from "../helpers/redis-server.ts";
import { removeAll } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";

describe("a Redis that goes away and comes back", () => {
  test("costs a running VM nothing, and the end that came meanwhile is told afterwards", async () => {
    await using scope = new Scope(); // ends after the world: a worker stops better while its Redis is there
    const dir = scope.own(mkdtempSync(join(tmpdir(), "drv-aof-")), (path) =>
      rmSync(path, { recursive: true, force: true }),
    );
    const server = {
      local: true,
      dir,
      port: await freePort(),
      args: ["--appendonly", "yes", "--appendfsync", "always"],
    } as const;
    const first = await startRedis(server);
    await using host = await startDrover({ rom: "obedient", redis: first });
    const [ended, lives] = [await host.submit(), await host.submit()];
    for (const vmId of [ended, lives]) await host.until(vmId, "running");
    const { pid } = machineOf(lives);
    await first.stop();
    await pressPowerButton(vmPaths({ stateDir: host.stateDir, vmId: ended, epoch: 1 }));
    await waitFor(() => host.logs().includes("Redis cannot be reached"), { what: "the worker to notice" });

    scope.own(await startRedis(server), (second) => second.stop());
    await waitFor(async () => (await host.call("/ready")).status === 200, { what: "the API to be ready again" });
    expect(await host.until(ended, "completed")).toMatchObject({ endReason: "guest_shutdown", epoch: 1 });
    expect(await host.get(lives)).toMatchObject({ state: "running", epoch: 1 });
    expect(machineOf(lives).pid).toBe(pid);
    const later = await host.submit();
    await host.until(later, "running");
    await removeAll(host);
    await expectAgreement(host);
  });
});

describe("a disk that takes no writes", () => {
  test("delays the end of a VM and loses it not", async () => {
    await using host = await startDrover({ rom: "idle" });
    const vmId = await host.submit({ attempts: 1 });
    await host.until(vmId, "running");
    const { end } = vmPaths({ stateDir: host.stateDir, vmId, epoch: 1 });
    mkdirSync(join(end, "in the way"), { recursive: true }); // the plan cannot be put there
    killMachine(vmId, "SIGKILL");
    await waitFor(() => host.logs().includes("writing down how a VM ended"), { what: "the worker to say so" });
    expect((await host.get(vmId)).state, "nothing is given away before it is written down").toBe("running");
    rmSync(end, { recursive: true });
    expect(await host.until(vmId, "failed")).toMatchObject({ cause: { code: "qemu_killed" } });
    await expectAgreement(host);
  });
});

describe("a job that is none of drover's", () => {
  test("fails by itself, and the VMs behind it run", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    const queue = new Queue("vm.default", { connection: host.client, prefix: host.keys.prefix });
    const stranger = await queue.add("resize-image", { width: 100 }, { jobId: "../../etc/passwd", priority: 1 });
    const odd = await host.submit();
    await queue.getJob(odd).then((job) => job?.updateData({ v: 1, vmId: odd, nothing: "that can be read" }));
    const vmId = await host.submit();
    await host.runWorker();
    await host.until(vmId, "running");
    expect(await host.until(odd, "failed")).toMatchObject({ cause: { code: "spec_invalid" }, attempts: { made: 1 } });
    expect(await queue.getJobState("../../etc/passwd")).toBe("failed");
    await stranger.remove();
    await queue.close();
    await removeAll(host);
    await expectAgreement(host);
  });
});
