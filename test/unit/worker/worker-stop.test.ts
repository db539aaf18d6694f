import { expect, test } from "vitest";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { WorkerStop, type WorkerStopDeps } from "../../../src/worker/worker-stop.ts";
import { type FakeWorker, openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** A worker with one VM that runs, and its way to stop. */
async function openStopping() {
  const worker = openFakeWorker();
  const left = worker.leave();
  await recoverDirectory(worker.recover, left);
  await waitFor(() => worker.trace.includes("told: vm.adopted"), { what: "the VM to be taken over" });
  worker.trace.length = 0;
  const note = (what: string) => {
    worker.trace.push(what);
  };
  const deps = {
    ...worker.deps,
    hostId: "host-a",
    runs: worker.runs,
    loop: { stop: async () => note("no more fetches") },
    lease: {
      async leave(awayMs: number) {
        note(awayMs > 0 ? "away" : "withdrawn");
        return true;
      },
    },
    guard: { leave: async () => note("guard waits"), dismiss: async () => note("guard dismissed") },
    leaving: worker.leaving,
    giveUp: worker.giveUp,
    closeRest: async () => note("loops ended"),
    scope: { close: async () => note("connections closed") },
  };
  // Of the classes that it stops, only what is called counts.
  return { worker, left, deps, stop: new WorkerStop(deps as unknown as WorkerStopDeps) };
}

const ofVms = ({ trace }: FakeWorker) =>
  trace.filter((what) => /QEMU|process|plan|told|job|record|secrets|disk/.test(what));

test("a worker that stops leaves its VMs as they are, and says to the others and to the guard for how long", async () => {
  const { worker, left, stop } = await openStopping();
  expect(await stop.stop()).toEqual({ left: 1 });
  expect(ofVms(worker)).toEqual(["QEMU left"]);
  expect(worker.living.has(left.vmId)).toBe(true);
  expect(worker.trace.filter((what) => !ofVms(worker).includes(what))).toEqual([
    "no more fetches",
    "away",
    "guard waits",
    "loops ended",
    "connections closed",
  ]);
});

test("one that was told to stop its VMs gives them back to the queue, and nobody guards an empty host", async () => {
  const { worker, stop } = await openStopping();
  expect(await stop.stop("stop")).toEqual({ left: 0 });
  expect(ofVms(worker)).toEqual([
    "told: stopping",
    "record written", // the reason, for a next worker; beside the other
    "QEMU ended",
    "plan written: released",
    "secrets removed",
    "disk removed",
    "told: queued, port given back",
    "job given back",
    "record removed",
  ]);
  expect(worker.trace).toEqual(expect.arrayContaining(["withdrawn", "guard dismissed"]));
  expect(worker.trace).not.toContain("away");
});

test("one that drains waits for its VMs; told to hurry it leaves them", async () => {
  const { worker, stop } = await openStopping();
  const drained = stop.stop("drain");
  await waitFor(() => worker.trace.includes("no more fetches"));
  expect(ofVms(worker)).toEqual([]);
  void stop.stop("keep");
  expect(await drained).toEqual({ left: 1 });
  expect(ofVms(worker)).toEqual(["QEMU left"]);
});

test("one that drains ends with its last VM", async () => {
  const { worker, stop } = await openStopping();
  const drained = stop.stop("drain");
  await waitFor(() => worker.trace.includes("no more fetches"));
  worker.qemus[0]?.end({ kind: "guest-shutdown" });
  expect(await drained).toEqual({ left: 0 });
  expect(worker.trace).toEqual(expect.arrayContaining(["told: completed, port given back", "guard dismissed"]));
});

test("one that is told to hurry before its drain has begun leaves its VMs all the same", async () => {
  const { worker, stop } = await openStopping();
  const drained = stop.stop("drain");
  void stop.stop("keep"); // two signals in one breath
  expect(await drained).toEqual({ left: 1 });
  expect(ofVms(worker)).toEqual(["QEMU left"]);
});

test("one that drains can be told to stop its VMs instead, and once told nothing else counts", async () => {
  const { worker, stop } = await openStopping();
  const drained = stop.stop("drain");
  await waitFor(() => worker.trace.includes("no more fetches"));
  const stopped = stop.stop("stop");
  void stop.stop("keep");
  expect(await drained).toEqual({ left: 0 });
  expect(await stopped).toEqual({ left: 0 });
  expect(worker.trace).toContain("plan written: released");
});

test("one that leaves its VMs is not talked into stopping them", async () => {
  const { worker, stop } = await openStopping();
  const left = stop.stop("keep");
  expect(stop.stop("stop")).toBe(left);
  expect(await left).toEqual({ left: 1 });
  expect(ofVms(worker)).toEqual(["QEMU left"]);
});

test("one that leaves in the middle of a stop leaves that to the next worker too, which goes on with it", async () => {
  const { worker, left, stop } = await openStopping();
  worker.answers.stopQemu = () => new Promise(() => undefined); // a guest that takes its time
  worker.answers.mark = () => ({ reason: "requested", force: false });
  await worker.runs.agree();
  await waitFor(() => worker.trace.includes("told: stopping"));
  expect(await stop.stop()).toEqual({ left: 1 });
  expect(worker.living.has(left.vmId)).toBe(true);
  expect(worker.trace).not.toContain("record removed");
});

test("a disk that takes and gives nothing keeps no worker from stopping, and nobody is told that the host is empty", async () => {
  const { worker, left, stop, deps } = await openStopping();
  const broken = () => Promise.reject(new Error("EIO"));
  deps.guard.leave = broken; // its deadline stands in a file
  worker.deps.files.list = broken;
  expect(await stop.stop()).toEqual({ left: 1 });
  expect(worker.trace).toEqual(expect.arrayContaining(["away", "loops ended", "connections closed"]));
  expect(worker.trace).not.toContain("guard dismissed");
  expect(worker.living.has(left.vmId)).toBe(true);
});

test("a loop that cannot be ended keeps no connection open", async () => {
  const { worker, stop, deps } = await openStopping();
  deps.closeRest = () => Promise.reject(new Error("it does not end"));
  await expect(stop.stop()).rejects.toThrow("it does not end");
  expect(worker.trace).toContain("connections closed");
});
