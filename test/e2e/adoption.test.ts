import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { FAIL_POINTS } from "../../src/worker/fail-points.ts";
import { startDrover } from "../helpers/drover.ts";
import { launchPaths } from "../helpers/launch-paths.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { killMachine, machineOf, pressPowerButton } from "../helpers/machine-of.ts";
import { machinesOf } from "../helpers/machine-traces.ts";
import { removeAll } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

describe("the next worker of a host", () => {
  test.each(["kill -9", "SIGTERM"])("takes over live VMs after %s, and nothing of them changes", async (how) => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmIds = [await host.submit(), await host.submit({ ttl: "1h" }), await host.submit()];
    for (const vmId of vmIds) await host.until(vmId, "running");
    const before = vmIds.map((vmId) => machineOf(vmId));
    const views = await Promise.all(vmIds.map((vmId) => host.get(vmId)));
    if (how === "SIGTERM") {
      const beganMs = performance.now();
      expect(await worker.terminate(), worker.output()).toBe(0);
      expect(performance.now() - beganMs, "SIGTERM ends a worker within 10 s").toBeLessThan(10_000);
    } else await worker.kill();
    expect(
      vmIds.map((vmId) => machineOf(vmId)),
      "no VM was touched",
    ).toEqual(before);

    await host.runWorker();
    for (const vmId of vmIds) await host.untilEvent(vmId, "vm.adopted");
    expect(vmIds.map((vmId) => machineOf(vmId))).toEqual(before);
    const after = await Promise.all(vmIds.map((vmId) => host.get(vmId)));
    expect(after).toEqual(views);
    await expectAgreement(host);
    const [first = "", , third = ""] = vmIds;
    await pressPowerButton(launchPaths(host, first));
    await host.until(first, "completed");
    killMachine(third, "SIGKILL");
    await host.untilEvent(third, "vm.retrying");
    expect(await host.until(third, "running")).toMatchObject({ epoch: 2, attempts: { made: 1 } });
    await removeAll(host);
    await expectAgreement(host);
  });

  test("settles as it ended what ended meanwhile: completed, vanished, expired, removed", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const [off, killed, late, gone] = [
      await host.submit({ attempts: 1 }),
      await host.submit({ attempts: 1 }),
      await host.submit({ ttl: "2s" }),
      await host.submit(),
    ];
    for (const vmId of [off, killed, late, gone]) await host.until(vmId, "running");
    await worker.kill();
    await pressPowerButton(launchPaths(host, off));
    killMachine(killed, "SIGKILL");
    await host.remove(gone);
    await waitFor(async () => Date.now() > Date.parse((await host.get(late)).expiresAt ?? ""), {
      timeoutMs: 10_000,
      what: "the time limit to pass",
    });
    expect((await host.get(off)).state, "nobody has looked yet").toBe("running");

    await host.runWorker();
    expect(await host.until(off, "completed")).toMatchObject({ endReason: "guest_shutdown", epoch: 1 });
    expect(await host.until(killed, "failed")).toMatchObject({ cause: { code: "qemu_vanished" }, epoch: 1 });
    expect(await host.until(late, "expired")).toMatchObject({ endReason: "ttl", epoch: 1 });
    expect(await host.until(gone, "removed")).toMatchObject({ epoch: 1 });
    expect((await host.events(late)).filter(({ type }) => type === "vm.removal_requested")).toHaveLength(1);
    await expectAgreement(host);
  });

  test("goes on with the console and the readiness of a guest", async () => {
    await using host = await startDrover({ rom: "flood", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit({ probe: { type: "console", text: "never said" } });
    await host.until(vmId, "running");
    const offset = async () => {
      const text = await host.client.hget(host.keys.console(vmId), "end");
      return Number(text ?? 0);
    };
    await waitFor(async () => (await offset()) > 0, { what: "a piece of the console" });
    await worker.kill();
    const before = await offset();
    await host.runWorker();
    await waitFor(async () => (await offset()) > before, { timeoutMs: 10_000, what: "more of the console" });
    expect((await host.get(vmId)).state).toBe("running");
    await removeAll(host);
    await expectAgreement(host);
  });

  test("keeps a QEMU that hangs, and can remove it", async () => {
    await using host = await startDrover({ rom: "idle", worker: false, env: { DROVER_QMP_TIMEOUT: "500ms" } });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit();
    await host.until(vmId, "running");
    const machine = machineOf(vmId);
    await worker.kill();
    process.kill(machine.pid, "SIGSTOP");
    await host.runWorker();
    await waitFor(() => host.logs().includes("QEMU lives and does not answer"), { what: "the worker to notice" });
    expect(machineOf(vmId)).toEqual(machine);
    expect((await host.get(vmId)).state).toBe("running");
    await host.remove(vmId);
    await host.until(vmId, "removed", 15_000);
    await expectAgreement(host);
  });

  test("does not take a stranger with the recorded pid for its VM, and does not touch it", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit({ attempts: 1 });
    await host.until(vmId, "running");
    await worker.kill();
    killMachine(vmId, "SIGKILL");
    const file = launchPaths(host, vmId).record;
    const record = JSON.parse(readFileSync(file, "utf8"));
    writeFileSync(file, JSON.stringify({ ...record, pid: process.pid }));
    await host.runWorker();
    expect(await host.until(vmId, "failed")).toMatchObject({ cause: { code: "qemu_vanished" } });
    await expectAgreement(host);
  });
});

/** Steps before `running` is told: nothing of the launch is worth keeping. */
const BEFORE_RUNNING = FAIL_POINTS.slice(0, FAIL_POINTS.indexOf("L10-running"));
const AT_THE_END = FAIL_POINTS.slice(FAIL_POINTS.indexOf("L11-stopping"), FAIL_POINTS.indexOf("A1-claimed"));

describe("a worker that is killed", () => {
  test.each(BEFORE_RUNNING)(
    "at %s: the launch is undone and the VM runs in a higher epoch, no attempt used",
    async (point) => {
      await using host = await startDrover({ rom: "obedient", worker: false });
      await using worker = await startWorkerProcess({ ...host.env, DROVER_FAILPOINT: `${point}:kill` });
      const vmId = await host.submit();
      await worker.ended();
      await host.runWorker();
      expect(await host.until(vmId, "running")).toMatchObject({ epoch: 2, attempts: { made: 0 } });
      expect(machinesOf(new Set([vmId]))).toHaveLength(1);
      await expectAgreement(host);
      await removeAll(host);
      await expectAgreement(host);
    },
  );

  test("right after it told that the VM runs: the VM runs on", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess({ ...host.env, DROVER_FAILPOINT: "L10-running:kill" });
    const vmId = await host.submit();
    await worker.ended();
    const machine = machineOf(vmId);
    await host.runWorker();
    await host.untilEvent(vmId, "vm.adopted");
    expect(machineOf(vmId)).toEqual(machine);
    expect(await host.get(vmId)).toMatchObject({ state: "running", epoch: 1 });
    await removeAll(host);
    await expectAgreement(host);
  });

  test.each(AT_THE_END)("at %s of a removal: it is removed once, and never runs again", async (point) => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess({ ...host.env, DROVER_FAILPOINT: `${point}:kill` });
    const vmId = await host.submit();
    await host.until(vmId, "running");
    await host.remove(vmId);
    await worker.ended();
    await host.runWorker();
    await host.until(vmId, "removed");
    await expectAgreement(host);
    const types = (await host.events(vmId)).map(({ type }) => type);
    expect(types.filter((type) => type === "vm.removed")).toHaveLength(1);
    expect(types.filter((type) => type === "vm.preparing")).toHaveLength(1);
  });

  test.each(AT_THE_END.slice(1))("at %s of an end: what was announced as completed stays so", async (point) => {
    await using host = await startDrover({ rom: "brief", worker: false });
    await using worker = await startWorkerProcess({ ...host.env, DROVER_FAILPOINT: `${point}:kill` });
    const vmId = await host.submit();
    await worker.ended();
    await host.runWorker();
    expect(await host.until(vmId, "completed")).toMatchObject({ epoch: 1, endReason: "guest_shutdown" });
    await expectAgreement(host);
    expect((await host.events(vmId)).filter(({ type }) => type === "vm.completed")).toHaveLength(1);
  });

  test.each(["A1-claimed", "A2-attached"])("while it takes over, at %s: the next one does it", async (point) => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using first = await startWorkerProcess(host.env);
    const vmId = await host.submit();
    await host.until(vmId, "running");
    await first.kill();
    const machine = machineOf(vmId);
    const env = { ...host.env, DROVER_FAILPOINT: `${point}:kill` };
    await using second = await startWorkerProcess(env, { until: "spawned" });
    await second.ended();
    await host.runWorker();
    await host.untilEvent(vmId, "vm.adopted", point === "A1-claimed" ? 1 : 2);
    expect(machineOf(vmId)).toEqual(machine);
    await removeAll(host);
    await expectAgreement(host);
  });

  test("three times by one VM: that VM has failed as poisoned, and the others run", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    const env = { ...host.env, DROVER_FAILPOINT: "L8-identified@poison:abort" };
    const good = await host.submit();
    const poison = await host.submit({ name: "poison" });
    // After the first death both are suspects; each boots alone then, and the good one comes to run.
    for (let deaths = 0; deaths < 3; deaths++) {
      await using worker = await startWorkerProcess(env, { until: "spawned" });
      await worker.ended();
    }
    await host.runWorker();
    expect(await host.until(poison, "failed")).toMatchObject({ cause: { code: "poisoned" } });
    await host.until(good, "running");
    await removeAll(host);
    await expectAgreement(host);
  });
});

describe("a removal", () => {
  test.each(BEFORE_RUNNING)("at %s of a launch: it is removed once, and never runs", async (point) => {
    const env = { DROVER_FAILPOINT: `${point}:pause` };
    await using host = await startDrover({ rom: "obedient", env });
    const vmId = await host.submit();
    await waitFor(() => host.logs().includes("fail point reached"), { intervalMs: 5, what: "the fail point" });
    await Promise.all([host.remove(vmId), host.remove(vmId)]);
    await host.until(vmId, "removed");
    await expectAgreement(host);
    const types = (await host.events(vmId)).map(({ type }) => type);
    expect(types.filter((type) => type === "vm.removed")).toHaveLength(1);
    expect(types).not.toContain("vm.running");
  });
});

describe("fewer slots than VMs", () => {
  test("after a restart kill none of them, and nothing is fetched until there is room", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false, env: { MANAGER_MAX_VMS: "3" } });
    await using worker = await startWorkerProcess(host.env);
    const vmIds = [await host.submit(), await host.submit(), await host.submit()];
    for (const vmId of vmIds) await host.until(vmId, "running");
    const machines = vmIds.map((vmId) => machineOf(vmId));
    await worker.terminate();
    const waiting = await host.submit();
    await host.runWorker({ MANAGER_MAX_VMS: "2" });
    for (const vmId of vmIds) await host.untilEvent(vmId, "vm.adopted");
    expect(vmIds.map((vmId) => machineOf(vmId))).toEqual(machines);
    const [first = "", second = "", third = ""] = vmIds;
    await host.remove(first);
    await host.until(first, "removed");
    await expectAgreement(host);
    expect((await host.get(waiting)).state, "two still run").toBe("queued");
    await host.remove(second);
    await host.until(waiting, "running");
    expect(machineOf(third)).toEqual(machines[2]);
    await removeAll(host);
  });
});

describe("a worker that gets SIGTERM", () => {
  test.each(["L3-intent", "L6-guest-files", "L9-answering"])("at %s leaves nothing half done", async (point) => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess({ ...host.env, DROVER_FAILPOINT: `${point}:hold:1` });
    const running = await host.submit();
    await waitFor(() => worker.output().includes("fail point reached"), { what: "the fail point" });
    expect(await worker.terminate(), worker.output()).toBe(0);
    await host.runWorker();
    await host.until(running, "running");
    expect((await host.get(running)).attempts.made).toBe(0);
    await removeAll(host);
    await expectAgreement(host);
  });

  test("with --drain waits for its VMs; a second signal leaves them running", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env, { flags: ["--drain"] });
    const [first, second] = [await host.submit(), await host.submit()];
    for (const vmId of [first, second]) await host.until(vmId, "running");
    worker.signal("SIGTERM");
    await waitFor(() => worker.output().includes("draining"), { what: "the drain" });
    const waiting = await host.submit();
    await pressPowerButton(launchPaths(host, first));
    await host.until(first, "completed");
    expect((await host.get(waiting)).state, "nothing is fetched any more").toBe("queued");
    const machine = machineOf(second);
    await waitFor(() => worker.drainedForMs() > 1_100, { what: "a second signal to count as one" });
    expect(await worker.terminate()).toBe(0);
    expect(machineOf(second)).toEqual(machine);
    await host.runWorker();
    await host.until(waiting, "running");
    await removeAll(host);
    await expectAgreement(host);
  });

  test("with --stop-vms gives them back to the queue without using an attempt", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env, { flags: ["--stop-vms"] });
    const vmId = await host.submit();
    await host.until(vmId, "running");
    expect(await worker.terminate(), worker.output()).toBe(0);
    expect(await host.get(vmId)).toMatchObject({ state: "queued", attempts: { made: 0 } });
    await expectAgreement(host);
  });
});
