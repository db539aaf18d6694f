import { describe, expect, test } from "vitest";
import type { VmRecord } from "../../../src/contract/vm-record.ts";
import type { ClaimOutcome, ReassertOutcome } from "../../../src/queue/ownership.ts";
import { recoverDirectory } from "../../../src/worker/recover.ts";
import { type FakeWorker, openFakeWorker } from "../../helpers/fake-worker.ts";
import { waitFor } from "../../helpers/wait-for.ts";

/** Lets the stories that were begun go on until something of them shows. */
async function told(worker: FakeWorker, what: RegExp | string): Promise<void> {
  await waitFor(() => worker.trace.some((entry) => entry.search(what) !== -1), {
    timeoutMs: 2_000,
    what: `"${what}" in ${JSON.stringify(worker.trace)}`,
  });
}

const causeOf = (worker: FakeWorker) => [...worker.plans.values()].at(-1)?.cause?.code;

/** Every end stays before Redis is told, so that its plan can be looked at. */
function keepPlans(worker: FakeWorker) {
  worker.deps.files.removeSecrets = () => new Promise(() => undefined);
}

describe("a live VM that the worker before has left", () => {
  test("is taken over under a token that is on disk before Redis hears of it", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    const before = worker.records.get(left.paths.record)?.token;
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(worker.trace).toEqual(["record written", "claimed", "QEMU taken over", "told: vm.adopted"]);
    expect(worker.records.get(left.paths.record)?.token).not.toBe(before);
    expect(worker.living.size).toBe(1);
  });

  test("is taken over also when the disk takes no new token: the old one is ours, too", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.deps.files.writeRecord = () => Promise.reject(new Error("ENOSPC"));
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(worker.living.size).toBe(1);
  });

  test.each<[string, ClaimOutcome]>([
    ["knows nothing of it", { kind: "refused", state: undefined }],
    ["has it in the queue", { kind: "refused", state: "queued" }],
    ["says that another launch of it is preparing", { kind: "refused", state: "preparing" }],
  ])("is told again to a Redis that %s, and lives on", async (_what, claim) => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.answers.claim = () => claim;
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    expect(worker.trace).toContain("reasserted");
    expect(worker.trace.filter((what) => /ended|plan/.test(what))).toEqual([]);
  });

  test.each<ReassertOutcome>([
    { kind: "final", epoch: 1 },
    { kind: "superseded", epoch: 2 },
  ])("is ended only when Redis knows better: $kind", async (outcome) => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.answers.claim = () => ({ kind: "refused", state: "running" });
    worker.answers.reassert = () => outcome;
    worker.answers.record = () => ({ state: "running", epoch: 2, attempts: 1 }) as VmRecord;
    await recoverDirectory(worker.recover, left);
    await worker.ended();
    expect(worker.trace.filter((what) => /QEMU|process|plan/.test(what))).toEqual([
      "plan written: superseded",
      "process ended",
    ]);
  });

  test("whose launch the record never heard of is ended before the job goes back", async () => {
    const worker = openFakeWorker();
    const left = worker.leave({ state: "preparing", pid: 100, startTimeTicks: 1 });
    worker.answers.claim = () => ({ kind: "claimed", state: "queued", prepared: false });
    await recoverDirectory(worker.recover, left);
    expect(worker.trace).toEqual(["record written", "claimed", "process ended", "job given back", "record removed"]);
  });

  test("and whose removal was asked for meanwhile is stopped", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    worker.answers.claim = () => ({
      kind: "claimed",
      state: "running",
      prepared: true,
      mark: { reason: "requested", force: false },
    });
    await recoverDirectory(worker.recover, left);
    await worker.ended();
    expect(worker.trace).toContain("told: removed, port given back");
    expect(worker.living.size).toBe(0);
  });

  test("is in one pair of hands: a second look leaves it alone", async () => {
    const worker = openFakeWorker();
    const left = worker.leave();
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
    await recoverDirectory(worker.recover, left);
    expect(worker.trace.filter((what) => what === "claimed")).toHaveLength(1);
  });
});

describe("a process with the pid of the record is not the VM", () => {
  test.each([
    ["when it started at another time", { startTimeTicks: 2 }, "qemu_vanished"],
    ["when the machine was started anew since", { bootId: "boot-0" }, "host_shutdown"],
  ] as const)("%s, and is not touched", async (_what, over, cause) => {
    const worker = openFakeWorker();
    keepPlans(worker);
    const left = worker.leave(over);
    const stranger = { pid: 100, startTimeTicks: 1, epoch: 1 };
    worker.living.clear();
    worker.living.set("a stranger", [stranger]);
    await recoverDirectory(worker.recover, left);
    await told(worker, "plan written");
    expect(causeOf(worker)).toBe(cause);
    expect(worker.living.get("a stranger")).toEqual([stranger]);
    expect(worker.trace).not.toContain("QEMU taken over");
  });

  test("but one with the VM's uuid is, also where the record does not know its pid yet", async () => {
    const worker = openFakeWorker();
    const left = worker.leave({ pid: null, startTimeTicks: null });
    worker.living.set(left.vmId, [{ pid: 7, startTimeTicks: 1, epoch: 1 }]);
    await recoverDirectory(worker.recover, left);
    await told(worker, "vm.adopted");
  });
});

describe("what died with its worker, or without it, is called by its cause:", () => {
  test.each([
    ["QEMU vanished", {}, false, "qemu_vanished"],
    ["the machine was restarted", { bootId: "boot-0" }, false, "host_shutdown"],
    ["the guard ended it", {}, true, "host_lost"],
    ["the worker died during the launch", { state: "starting", runningAtMs: null }, false, "worker_crashed"],
  ] as const)("%s", async (_what, over, wasGuarded, cause) => {
    const worker = openFakeWorker();
    keepPlans(worker);
    const left = worker.leave(over);
    worker.living.clear();
    const state = "state" in over ? over.state : "running";
    worker.answers.claim = () => ({ kind: "claimed", state, prepared: true });
    worker.deps.files.wasGuarded = async () => wasGuarded;
    await recoverDirectory(worker.recover, left);
    await told(worker, "plan written");
    expect(causeOf(worker)).toBe(cause);
  });
});
