import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { JobClaims } from "../../src/queue/job-claims.ts";
import { EndPlan } from "../../src/worker/end-plan.ts";
import { type Drover, startDrover } from "../helpers/drover.ts";
import { makeGatedQemu } from "../helpers/gated-qemu.ts";
import { expectAgreement } from "../helpers/leftovers.ts";
import { killMachine, machineOf } from "../helpers/machine-of.ts";
import { filesBelow, machinesOf } from "../helpers/machine-traces.ts";
import { startRedisProxy } from "../helpers/redis-proxy.ts";
import { removeAll } from "../helpers/shared-drover.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { startWorkerProcess } from "../helpers/worker-process.ts";

const HostFile = z.object({ hostId: z.string(), stateId: z.string() });

function launchDir(host: Drover, vmId: string, epoch = 1): string {
  return join(host.stateDir, "vms", vmId, String(epoch));
}

/** Redis takes no writes until `resume`: whoever ends a VM stands still behind its plan. */
async function pauseWrites(host: Drover) {
  await host.client.call("CLIENT", "PAUSE", "600000", "WRITE");
  return { resume: () => host.client.call("CLIENT", "UNPAUSE") };
}

async function planOnDisk(host: Drover, vmId: string): Promise<EndPlan> {
  const file = join(launchDir(host, vmId), "end.json");
  await waitFor(() => existsSync(file), { what: "the plan of the end on disk" });
  return EndPlan.parse(JSON.parse(readFileSync(file, "utf8")));
}

/** What is left when a worker dies right after a fetch, or when the reply to one is lost: an active job, nothing else. */
async function fetchSilently(host: Drover, vmId: string): Promise<void> {
  const { hostId, stateId } = HostFile.parse(JSON.parse(readFileSync(join(host.stateDir, "host.json"), "utf8")));
  const logger = pino({ level: "silent" });
  const claims = new JobClaims({ redis: host.client, keys: host.keys, hostId, logger });
  const job = await claims.fetch("default", `${hostId}:${stateId}:boot:lost`);
  expect(job?.vmId).toBe(vmId);
  await claims.close();
}

describe("after a worker was killed, the next one of the host", () => {
  test("undoes launches that had not come to run, without using an attempt, and keeps those that had", async () => {
    using qemu = makeGatedQemu();
    const env = { DROVER_MAX_BOOTS: "1", MANAGER_QEMU_BIN_PATH: qemu.binPath };
    await using host = await startDrover({ rom: "obedient", worker: false, env });
    await using worker = await startWorkerProcess(host.env);
    const running = await host.submit();
    await host.until(running, "running");
    const preparing = await host.submit();
    await host.until(preparing, "running");
    qemu.close();
    const starting = await host.submit();
    await host.until(starting, "starting");
    killMachine(preparing, "SIGKILL"); // one attempt is used, and its next launch waits for its turn to boot
    await host.untilEvent(preparing, "vm.preparing", 2);
    const vmIds = [running, starting, preparing];
    const before = machinesOf(new Set(vmIds));
    expect(before, "QEMU outlives its worker, and so does what is to become one").toHaveLength(2);
    await worker.kill();
    expect(machinesOf(new Set(vmIds))).toHaveLength(2);
    qemu.lift();

    await host.runWorker();
    await host.untilEvent(running, "vm.adopted");
    expect(await host.get(running)).toMatchObject({ state: "running", epoch: 1 });
    for (const vmId of [starting, preparing]) {
      const used = vmId === preparing ? 1 : 0;
      expect(await host.until(vmId, "running")).toMatchObject({ epoch: 2 + used, attempts: { made: used } });
      const again = (await host.events(vmId)).find(({ data }) => data["reason"] === "requeued");
      expect(again?.data).toMatchObject({ cause: { code: "worker_crashed" } });
    }
    const kept = machinesOf(new Set(vmIds)).filter(({ pid }) => before.some((old) => old.pid === pid));
    expect(kept.map(({ uuid }) => uuid)).toEqual([running]);
    await expectAgreement(host);
    await removeAll(host);
    await expectAgreement(host);
  });

  test("finishes an end that was decided and not told, with the same outcome and the same delay", async () => {
    await using host = await startDrover({ rom: "idle", worker: false, env: { DROVER_BACKOFF: "20s" } });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit();
    await host.until(vmId, "running");
    const writes = await pauseWrites(host);
    killMachine(vmId, "SIGKILL");
    const plan = await planOnDisk(host, vmId);
    await worker.kill();
    await writes.resume();
    expect((await host.get(vmId)).state, "nobody was told yet").toBe("running");

    await host.runWorker();
    await host.until(vmId, "retrying");
    const retrying = (await host.events(vmId)).at(-1);
    expect(retrying).toMatchObject({
      type: "vm.retrying",
      data: { attempt: 1, delayMs: plan.delayMs, cause: { code: "qemu_killed" } },
    });
    await expectAgreement(host);
    await removeAll(host);
  });

  test("settles a job whose VM's end was told already, and tells nothing twice", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    await using proxy = await startRedisProxy(host.redis.url);
    await using worker = await startWorkerProcess({ ...host.env, DROVER_REDIS_URL: proxy.url });
    const vmId = await host.submit();
    await host.until(vmId, "running");
    proxy.hold(/-bull$/); // the connection of the queue; records and events go over another one
    killMachine(vmId, "SIGKILL");
    await host.until(vmId, "retrying");
    await worker.kill();

    await host.runWorker();
    expect(await host.until(vmId, "running")).toMatchObject({ epoch: 2, attempts: { made: 1 } });
    const types = (await host.events(vmId)).map(({ type }) => type);
    expect(types.filter((type) => type === "vm.retrying")).toHaveLength(1);
    await removeAll(host);
    await expectAgreement(host);
  });

  test("deletes the directory of a launch whose end was finished, and changes nothing else", async () => {
    await using host = await startDrover({ rom: "idle" });
    const vmId = await host.submit({ attempts: 1 });
    await host.until(vmId, "running");
    const writes = await pauseWrites(host);
    killMachine(vmId, "SIGKILL");
    await planOnDisk(host, vmId);
    const copy = join(host.stateDir, "copy");
    cpSync(launchDir(host, vmId), copy, { recursive: true, filter: (path) => !path.endsWith(".sock") });
    await writes.resume();
    await host.until(vmId, "failed");
    await host.worker?.stop("stop");
    const before = await host.events(vmId);
    cpSync(copy, launchDir(host, vmId), { recursive: true });

    await host.runWorker();
    await expectAgreement(host, { files: /^copy\// });
    expect(await host.events(vmId)).toEqual(before);
    expect((await host.get(vmId)).state).toBe("failed");
  });

  test("does not launch a VM again whose removal was asked for meanwhile", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit();
    await host.until(vmId, "running");
    await worker.kill();
    expect((await host.remove(vmId)).status, "only the host can prove its end").toBe(202);
    await host.runWorker();
    expect(await host.until(vmId, "removed")).toMatchObject({ epoch: 1 });
    await expectAgreement(host);
  });

  test("clears away the directory of a VM in which no launch is left", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    mkdirSync(join(host.stateDir, "vms", crypto.randomUUID()), { recursive: true });
    await host.runWorker();
    await expectAgreement(host);
  });

  test("takes back a job that was fetched and of which nothing is on disk", async () => {
    await using host = await startDrover({ rom: "obedient" });
    await host.worker?.stop("stop");
    const vmId = await host.submit();
    await fetchSilently(host, vmId);
    await host.runWorker();
    expect(await host.until(vmId, "running")).toMatchObject({ epoch: 2, attempts: { made: 0 } });
    await removeAll(host);
    await expectAgreement(host);
  });

  test("ends a VM as removed whose launch had failed and whose removal was asked for before anybody was told", async () => {
    await using host = await startDrover({ rom: "idle", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmId = await host.submit();
    await host.until(vmId, "running");
    const writes = await pauseWrites(host);
    killMachine(vmId, "SIGKILL");
    expect((await planOnDisk(host, vmId)).outcome).toBe("retrying");
    await worker.kill();
    await writes.resume();
    await host.remove(vmId);

    await host.runWorker();
    await host.until(vmId, "removed");
    const types = (await host.events(vmId)).map(({ type }) => type);
    expect(types.slice(-3)).toEqual(["vm.running", "vm.removal_requested", "vm.removed"]);
    await expectAgreement(host);
  });

  test("makes a damaged record again from what Redis says, and the VM runs on", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmIds = [await host.submit(), await host.submit()];
    const [damaged = "", empty = ""] = vmIds;
    for (const vmId of vmIds) await host.until(vmId, "running");
    const before = vmIds.map((vmId) => machineOf(vmId));
    await worker.kill();
    writeFileSync(join(launchDir(host, damaged), "record.json"), '{"v":1,"vmId":');
    writeFileSync(join(launchDir(host, empty), "record.json"), "");

    await host.runWorker();
    for (const vmId of vmIds) await host.untilEvent(vmId, "vm.adopted");
    expect(vmIds.map((vmId) => machineOf(vmId))).toEqual(before);
    expect(host.logs()).toContain("damaged");
    await expectAgreement(host);
    await removeAll(host);
    await expectAgreement(host);
  });

  test("sets aside a record of another host, without its secrets, and leaves alone that of a newer version", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmIds = [await host.submit(), await host.submit()];
    const [foreign = "", newer = ""] = vmIds;
    for (const vmId of vmIds) await host.until(vmId, "running");
    await worker.kill();
    for (const vmId of vmIds) killMachine(vmId, "SIGKILL");
    const file = (vmId: string) => join(launchDir(host, vmId), "record.json");
    const record = JSON.parse(readFileSync(file(foreign), "utf8"));
    writeFileSync(file(foreign), JSON.stringify({ ...record, hostId: "somebody", stateId: crypto.randomUUID() }));
    writeFileSync(file(newer), JSON.stringify({ ...JSON.parse(readFileSync(file(newer), "utf8")), v: 99 }));
    await host.client.del(host.keys.record(foreign)); // else it would be made again from Redis

    await host.runWorker();
    const kept = filesBelow(join(host.stateDir, "quarantine")).map((path) => path.split("/").slice(1).join("/"));
    expect(kept).toContain("record.json");
    expect(kept.filter((path) => /env|certs|OVMF|disk/.test(path))).toEqual([]);
    expect(existsSync(file(newer)), "a newer version may read it").toBe(true);
    expect(host.logs()).toContain("start a newer one");
    expect((await host.get(newer)).state).toBe("running");
  });
});

describe("a worker that lives", () => {
  test("ends a QEMU of which nothing is on disk any more, once its VM has ended, and leaves it alone before", async () => {
    await using host = await startDrover({ rom: "obedient", worker: false });
    await using worker = await startWorkerProcess(host.env);
    const vmIds = [await host.submit(), await host.submit()];
    const [ended = "", unknown = ""] = vmIds;
    for (const vmId of vmIds) await host.until(vmId, "running");
    await worker.kill();
    const machine = machineOf(unknown);
    for (const vmId of vmIds) {
      rmSync(join(host.stateDir, "vms", vmId), { recursive: true });
      await host.client.lrem(host.keys.bull("vm.default", "active"), 0, vmId);
    }
    await host.client.hset(host.keys.record(ended), "state", "removed");
    await host.client.del(host.keys.record(unknown));
    await host.runWorker();
    await waitFor(() => machinesOf(new Set([ended])).length === 0, { what: "the end of what has ended" });
    await waitFor(() => host.logs().includes("nothing is known"), { what: "the other one to be said" });
    expect(machineOf(unknown)).toEqual(machine);
    process.kill(machine.pid, "SIGKILL");
  });

  test("finds a job that it fetched without ever hearing of it, and does not touch those that it has", async () => {
    await using host = await startDrover({ rom: "obedient", env: { MANAGER_MAX_VMS: "1" } });
    const known = await host.submit();
    await host.until(known, "running"); // the only slot is taken, so that the worker itself fetches nothing now
    const { pid } = machineOf(known);
    const lost = await host.submit();
    await fetchSilently(host, lost);
    const active = () => host.client.lrange(host.keys.bull("vm.default", "active"), 0, -1);
    expect(await active()).toContain(lost);
    await expect.poll(active, { timeout: 10_000 }).toEqual([known]);
    expect(machineOf(known).pid).toBe(pid);
    await host.remove(known);
    expect(await host.until(lost, "running")).toMatchObject({ epoch: 2, attempts: { made: 0 } });
    await removeAll(host);
    await expectAgreement(host);
  });
});
