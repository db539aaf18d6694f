import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { VmRecord } from "../../../src/contract/vm-record.ts";
import type { VmSpec } from "../../../src/contract/vm-request.ts";
import type { QemuEnd } from "../../../src/qemu/qemu-end.ts";
import { launchFromDisk } from "../../../src/worker/launch.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { type FakeWorker, openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** A VM that runs, taken over by this worker. */
async function running(worker: FakeWorker, spec: VmSpec = {}, over: Parameters<FakeWorker["leave"]>[0] = {}) {
  const left = worker.leave(over, spec);
  await recoverDirectory(worker.recover, left);
  await waitFor(() => worker.trace.includes("told: vm.adopted"), { what: "the VM to be taken over" });
  const qemu = worker.qemus.at(-1);
  if (qemu === undefined) throw new Error("no QEMU was taken over");
  return { ...left, qemu };
}

/** Lets time pass until all VMs have ended. */
async function allEnded(worker: FakeWorker): Promise<void> {
  await waitFor(() => {
    worker.clock.advance(1_000);
    return worker.runs.size === 0;
  });
}

test("the end of a VM's time that cannot be written is tried again until it can", async () => {
  const worker = openFakeWorker();
  let asked = 0;
  worker.deps.store.requestRemoval = async () => {
    asked += 1;
    if (asked < 3) throw new Error("READONLY");
    return { kind: asked === 3 ? "not_due" : "marked" }; // by Redis's own clock
  };
  const deadlineAtMs = worker.clock.nowMs() + 5_000;
  await running(worker, { ttl: "1h" }, { deadlineAtMs });
  expect(asked).toBe(0);
  await allEnded(worker);
  expect(asked).toBe(4);
  expect(worker.trace).toContain("plan written: expired");
});

test("files that cannot be read or removed do not turn a good end into another launch", async () => {
  const worker = openFakeWorker();
  const { qemu } = await running(worker);
  const broken = () => Promise.reject(new Error("EIO"));
  qemu.drainOutputs = broken;
  worker.deps.machine.readOutputs = broken;
  const { removeDisk, removeDirectory } = worker.deps.files;
  let failures = 0;
  worker.deps.files.removeDisk = (paths) => (failures++ < 2 ? broken() : removeDisk(paths));
  worker.deps.files.removeDirectory = (paths) => (failures++ < 5 ? broken() : removeDirectory(paths));
  // Told once, the record is final: what follows finds it so.
  worker.deps.launches.move = async (launch, { to }) => {
    if (worker.trace.includes(`told: ${to}`)) return "wrong_state";
    worker.trace.push(`told: ${to}`);
    const { host, epoch, token } = launch;
    worker.answers.record = () => ({ state: to, host, epoch, token, endReason: "guest_shutdown" }) as VmRecord;
    return "done";
  };
  qemu.end({ kind: "guest-shutdown" });
  await allEnded(worker);
  expect(worker.trace.filter((what) => /^told: (?!vm)|plan/.test(what))).toEqual([
    "plan written: completed",
    "told: completed",
  ]);
  expect(worker.trace).not.toContain("job given back");
  expect(new Set(worker.trace.filter((what) => what.startsWith("job")))).toEqual(new Set(["job settled: completed"]));
  expect(worker.records.size).toBe(0);
});

/** Machines that can be started; none of their guests is ever ready. */
function openMachines(worker: FakeWorker): string[] {
  const started: string[] = [];
  worker.deps.machine.start = async ({ vmId }) => {
    started.push(vmId);
    return {
      pid: started.length,
      startTimeTicks: 1,
      ended: new Promise<QemuEnd>(() => undefined),
      stop: async () => ({ rung: "quit", tookMs: 1 }),
      drainOutputs: async () => ({ console: "", qemu: "", result: Buffer.alloc(0) }),
      detach: async () => undefined,
      resume: async () => true,
    };
  };
  return started;
}

/** A launch as a fetch has prepared it. */
function launch(worker: FakeWorker): void {
  const state = { state: "preparing", runningAtMs: null, pid: null, startTimeTicks: null } as const;
  const { paths } = worker.leave(state, { probe: { type: "console", text: "never shown" } });
  const record = worker.records.get(paths.record);
  if (record === undefined) throw new Error("no record");
  worker.runs.start(launchFromDisk(record, undefined, paths));
}

const isRunning = ({ trace }: FakeWorker) => trace.includes("told: running");

test("a guest that is never ready keeps its place to boot for a minute, and not for ever", async () => {
  const worker = openFakeWorker();
  const started = openMachines(worker);
  for (let count = 0; count < 2; count++) launch(worker);
  await waitFor(() => isRunning(worker));
  expect(started, "one place").toHaveLength(1);
  worker.clock.advance(59_000);
  await new Promise((resolve) => setImmediate(resolve));
  expect(started).toHaveLength(1);
  worker.clock.advance(1_001);
  await waitFor(() => started.length === 2, { what: "the second one to boot" });
});

test("a Redis that refuses to answer while a VM is launched costs it no attempt", async () => {
  const worker = openFakeWorker();
  openMachines(worker);
  let refusals = 0;
  const refuse = () => {
    const error = new Error("LOADING Redis is loading the dataset in memory");
    error.name = "ReplyError";
    refusals += 1;
    return Promise.reject(error);
  };
  const { snapshot } = worker.deps.ownership;
  worker.deps.ownership.snapshot = (vmId) => (refusals < 3 ? refuse() : snapshot(vmId));
  let taken = true;
  worker.deps.machine.isPortFree = async () => !taken;
  worker.deps.launches.changePort = async (_launch, port) => {
    if (refusals < 6) return refuse();
    taken = false;
    return port + 1;
  };
  launch(worker);
  await waitFor(() => {
    worker.clock.advance(500);
    return isRunning(worker);
  });
  expect(refusals).toBe(6);
  expect(worker.plans.size).toBe(0);
});

test("a worker keeps nothing of a VM that has ended", async () => {
  setFlagsFromString("--expose-gc");
  const collect: () => void = runInNewContext("gc");
  const worker = openFakeWorker();
  const end = async () => {
    const { qemu } = await running(worker);
    const how: QemuEnd = { kind: "guest-shutdown" };
    qemu.end(how);
    worker.qemus.length = 0;
    await worker.runs.allDone();
    return new WeakRef(how);
  };
  const ended = await end();
  await waitFor(() => {
    collect();
    return ended.deref() === undefined;
  });
});
