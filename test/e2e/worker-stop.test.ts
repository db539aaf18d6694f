import { describe, expect, test } from "vitest";
import { HostDetail } from "../../src/contract/host-view.ts";
import { vmPaths } from "../../src/qemu/vm-paths.ts";
import { startDrover } from "../helpers/drover.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { machineOf, pressPowerButton } from "../helpers/machine-of.ts";
import { machinesOf } from "../helpers/machine-traces.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

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

/** What `drover worker` promises of a stop that leaves its VMs. */
const STOP_MAX_MS = 10_000;

describe("a worker that stops while Redis is away", () => {
  test.each(["does not answer", "is not there"])(
    "(it %s) ends in time, leaves its VMs and the end of one that was under way, and the next one has all of them",
    async (how) => {
      await using host = await startDrover({ rom: "obedient", worker: false });
      await using proxy = await startRedisProxy(host.redis.url);
      const worker = await host.runWorker({ DROVER_REDIS_URL: proxy.url });
      const [lives, ends] = [await host.submit({ ttl: "1h" }), await host.submit()];
      for (const vmId of [lives, ends]) await host.until(vmId, "running");
      const { pid } = machineOf(lives);
      const resume = proxy.blackhole();
      if (how === "is not there") await proxy[Symbol.asyncDispose]();
      await pressPowerButton(vmPaths({ stateDir: host.stateDir, vmId: ends, epoch: 1 }));
      await waitFor(() => machinesOf(new Set([ends])).length === 0, { what: "the guest to have ended" });

      const stoppedMs = performance.now();
      expect(await worker.stop("keep")).toEqual({ left: 2 });
      expect(performance.now() - stoppedMs).toBeLessThan(STOP_MAX_MS);
      expect(machineOf(lives).pid).toBe(pid);

      resume();
      await host.runWorker();
      expect((await host.until(ends, "completed")).epoch).toBe(1);
      expect(await host.get(lives)).toMatchObject({ state: "running", epoch: 1 });
      expect(machineOf(lives).pid).toBe(pid);
      await host.remove(lives);
      await host.until(lives, "removed");
      await expectAgreement(host);
    },
  );
});

test("a worker that is told to stop while it takes its VMs over leaves them, and says that it is away", async () => {
  await using host = await startDrover({ rom: "obedient" });
  const vmId = await host.submit();
  const { host: hostId } = await host.until(vmId, "running");
  const { pid } = machineOf(vmId);
  await host.worker?.stop("keep");
  await host.client.hdel(host.keys.host(hostId ?? ""), "awayUntilMs");
  const env = { ...host.env, DROVER_FAILPOINT: "A1-claimed:hold" };
  await using worker = await startWorkerProcess(env, { until: "spawned" });
  await waitFor(() => worker.output().includes("fail point reached"), {
    timeoutMs: 30_000,
    what: "the worker to take its VM over",
  });
  const stoppedMs = performance.now();
  await worker.terminate();
  expect(performance.now() - stoppedMs).toBeLessThan(STOP_MAX_MS);
  const view = HostDetail.parse(await (await host.call(`/v1/hosts/${hostId}`)).json());
  expect(view).toMatchObject({ status: "away", awayUntil: expect.any(String), vms: 1 });

  await host.runWorker();
  await host.untilEvent(vmId, "vm.adopted");
  expect(await host.get(vmId)).toMatchObject({ state: "running", epoch: 1 });
  expect(machineOf(vmId).pid).toBe(pid);
  await host.remove(vmId, "?force");
  await host.until(vmId, "removed");
  await expectAgreement(host);
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
