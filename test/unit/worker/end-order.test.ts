import { expect, test } from "vitest";
import type { VmRecord } from "../../../src/contract/vm-record.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { type FakeWorker, openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** A VM that runs, taken over by this worker; what happens from here on is in `trace`. */
async function running(worker: FakeWorker) {
  const left = worker.leave();
  await recoverDirectory(worker.recover, left);
  await waitFor(() => worker.trace.includes("told: vm.adopted"), { what: "the VM to be taken over" });
  worker.trace.length = 0;
  const [qemu] = worker.qemus;
  if (qemu === undefined) throw new Error("no QEMU was taken over");
  return { ...left, qemu };
}

test("an end goes its way in one order: plan, process, secrets, disk, port and record, job, and the local record last", async () => {
  const worker = openFakeWorker();
  const { qemu } = await running(worker);
  qemu.end({ kind: "guest-shutdown" });
  await worker.ended();
  expect(worker.trace).toEqual([
    "plan written: completed",
    "QEMU ended",
    "secrets removed",
    "disk removed",
    "told: completed, port given back",
    "job settled: completed",
    "record removed",
  ]);
});

test("until the process is proved dead nothing of the VM is given away, however long that takes", async () => {
  const worker = openFakeWorker();
  const { qemu } = await running(worker);
  let dead = false;
  worker.answers.stopQemu = async () => {
    if (!dead) throw new Error("it hangs in the kernel");
  };
  qemu.end({ kind: "guest-shutdown" });
  for (let tries = 0; tries < 3; tries++) {
    await waitFor(() => worker.clock.sleepers > 0, { what: "it to wait" });
    expect(worker.trace).toEqual(["plan written: completed"]);
    worker.clock.advance(60_000);
  }
  dead = true;
  await waitFor(() => {
    worker.clock.advance(60_000);
    return worker.runs.size === 0;
  });
  expect(worker.trace.slice(0, 3)).toEqual(["plan written: completed", "QEMU ended", "secrets removed"]);
});

test("an end that was decided is finished as decided: its process first, and no second plan", async () => {
  const worker = openFakeWorker();
  const left = worker.leave();
  worker.plans.set(left.paths.end, {
    v: 1,
    outcome: "retrying",
    reason: "guest_panic",
    cause: { code: "guest_panic", message: "it panicked" },
    exitCode: null,
    resultData: null,
    delayMs: 12_345,
    attemptsMade: 1,
    avoidUntilMs: null,
    endedAtMs: 1,
    crashes: [],
    tail: { console: "", qemu: "" },
  });
  await recoverDirectory(worker.recover, left);
  await worker.ended();
  expect(worker.trace).toEqual([
    "record written", // the new token
    "claimed",
    "process ended",
    "secrets removed",
    "disk removed",
    "told: retrying, port given back",
    "job settled: failed, again",
    "record removed",
  ]);
});

test("a launch that does not count any more is told to nobody as a live one", async () => {
  const worker = openFakeWorker();
  worker.answers.claim = () => ({ kind: "refused", state: "running" });
  worker.answers.reassert = () => ({ kind: "superseded", epoch: 2 });
  worker.answers.record = () => ({ state: "running", host: "host-b", epoch: 2, attempts: 3 }) as VmRecord;
  const left = worker.leave();
  await recoverDirectory(worker.recover, left);
  await worker.ended();
  expect(worker.trace.filter((what) => /^told|settled/.test(what))).toEqual(["told: vm.copy_stopped"]);
  expect(worker.trace.indexOf("process ended")).toBeLessThan(worker.trace.indexOf("port given back"));
  expect(worker.records.size).toBe(0);
});
